from igpo_operator.api.reasons import ConditionType
from igpo_operator.api.status import AttemptStatus, RunStatus
from igpo_operator.plan.conditions import Conditions, find
from igpo_operator.plan.health import show_health
from planworld.pictures import NOW, scrape

STATUS = RunStatus(attempt=AttemptStatus(number=1, decided_at=NOW))


def health(said, status=STATUS):
    conditions = Conditions(status, 1, NOW)
    show_health(conditions, status, said)
    return find(RunStatus(conditions=conditions.listed()), ConditionType.TRAINING_HEALTHY)


def test_nothing_is_known_before_the_first_step_or_of_another_attempt():
    assert health(None) is None
    assert health(scrape(0)) is None
    assert health(scrape(3, attempt=2)) is None
    assert health(scrape(3), RunStatus()) is None


def test_finite_numbers_are_healthy():
    assert health(scrape(1)).status == "True"


def test_numbers_that_are_not_finite_are_named():
    condition = health(scrape(4, non_finite=["loss", "kl"]))
    assert (condition.status, condition.reason) == ("False", "NonFinite")
    assert condition.message.startswith("kl, loss not finite")
