import pytest

from igpo_operator.apply.config import InvalidConfigError, OperatorConfig
from igpo_operator.render.network_policy import DEFAULT_SCRAPERS
from planworld.pictures import NOW


def facts(text):
    return OperatorConfig.from_environment({"IGPO_OPERATOR_SCRAPERS": text}).facts(NOW)


def test_scrapers_are_peers_of_a_network_policy():
    assert facts('[{"podSelector": {}}]').scrapers == ({"podSelector": {}},)
    assert facts("[]").scrapers == ()


def test_without_a_setting_the_operator_and_prometheus_scrape_by_their_usual_labels():
    assert facts("").scrapers == DEFAULT_SCRAPERS


@pytest.mark.parametrize("text", ["{", '{"podSelector": {}}', '["prometheus"]'])
def test_scrapers_that_are_no_list_of_peers_name_the_variable(text):
    with pytest.raises(InvalidConfigError, match="IGPO_OPERATOR_SCRAPERS"):
        facts(text)
