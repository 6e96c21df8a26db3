import pytest

from igpo_operator.apply.config import InvalidConfigError, OperatorConfig, describe_variables
from igpo_operator.main import main
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


def test_every_problem_is_one_line_that_names_its_variable():
    environment = {"IGPO_OPERATOR_WORKERS": "many", "IGPO_OPERATOR_COLOUR": "red", "IGPO_OPERATOR_PORT": "99999"}
    with pytest.raises(InvalidConfigError) as caught:
        OperatorConfig.from_environment(environment)
    lines = sorted(str(caught.value).splitlines())
    assert [line.split(" ")[0].split("=")[0] for line in lines] == [
        "IGPO_OPERATOR_COLOUR",
        "IGPO_OPERATOR_PORT",
        "IGPO_OPERATOR_WORKERS",
    ]


def test_namespaces_are_a_list_and_hold_a_lease_each():
    config = OperatorConfig.from_environment({"IGPO_OPERATOR_NAMESPACES": "a, b,"})
    assert config.namespaces == config.lease_namespaces == ("a", "b")
    config = OperatorConfig.from_environment({"IGPO_OPERATOR_OWN_NAMESPACE": "home"})
    assert (config.namespaces, config.lease_namespaces) == ((), ("home",))


def test_the_identity_is_the_hosts_in_a_cluster_and_unique_outside():
    inside = OperatorConfig.from_environment({"KUBERNETES_SERVICE_HOST": "10.96.0.1"}).identity
    outside = OperatorConfig.from_environment({}).identity
    assert outside.startswith(f"{inside}-")
    assert OperatorConfig.from_environment({"IGPO_OPERATOR_IDENTITY": "me"}).identity == "me"


def test_the_help_describes_every_variable():
    text = describe_variables()
    for name in OperatorConfig.model_fields:
        assert f"IGPO_OPERATOR_{name.upper()}\n" in text
    assert "(default: 15.0)" in text


def test_the_process_answers_help_and_wrong_settings_in_words(capsys, monkeypatch):
    assert main(["--help"]) == 0
    assert "IGPO_OPERATOR_TRAINER_IMAGE" in capsys.readouterr().out
    assert main(["go"]) == 64
    monkeypatch.setenv("IGPO_OPERATOR_WORKERS", "0")
    assert main([]) == 64
    assert "IGPO_OPERATOR_WORKERS=0" in capsys.readouterr().err
