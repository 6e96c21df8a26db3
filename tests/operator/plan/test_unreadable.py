from datetime import timedelta

from igpo_operator.plan.unreadable import marked
from planworld.pictures import NOW

PROBLEM = "status.phase 'Dancing': Input should be 'Pending'"
STORED = {
    "phase": "Dancing",
    "steps": {"left": 3},
    "conditions": [
        {"type": "Ready", "status": "False", "reason": "Dancing", "lastTransitionTime": "2026-01-01T00:00:00Z"},
        {"type": "Reconciling", "status": "True", "reason": "Dancing", "lastTransitionTime": "2026-01-01T00:00:00Z"},
    ],
}


def test_the_run_says_that_its_status_cannot_be_read_and_keeps_everything_else():
    status = marked(STORED, PROBLEM, 4, NOW)
    assert {**status, "message": None, "conditions": None} == {**STORED, "message": None, "conditions": None}
    ready, stalled = status["conditions"]
    assert ready == STORED["conditions"][0]
    assert stalled == {
        "type": "Stalled",
        "status": "True",
        "reason": "InvalidStatus",
        "message": status["message"],
        "lastTransitionTime": "2026-03-01T12:00:00Z",
        "observedGeneration": 4,
    }
    assert f"cannot read the run's status: {PROBLEM}; run the operator's release that wrote it" in status["message"]


def test_it_is_said_once_for_one_problem():
    once = marked(STORED, PROBLEM, 4, NOW)
    assert marked(once, PROBLEM, 5, NOW + timedelta(hours=1)) is None
    again = marked(once, "status.attempt: broken", 5, NOW)
    assert [condition["type"] for condition in again["conditions"]] == ["Ready", "Stalled"]


def test_conditions_that_are_no_list_are_replaced():
    assert len(marked({"conditions": "all good"}, PROBLEM, 1, NOW)["conditions"]) == 1
    assert len(marked({"conditions": ["all good"]}, PROBLEM, 1, NOW)["conditions"]) == 1


def test_a_long_problem_fits_the_schema():
    assert len(marked({}, "x" * 5000, 1, NOW)["message"]) == 2048
