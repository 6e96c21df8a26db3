import pytest

from igpo_trainer.rewards.score import combine
from igpo_trainer.rewards.verdict import Outcome, Verdict
from igpo_trainer.spec.igpo import RewardsSpec

RIGHT, WRONG = Verdict(Outcome.RIGHT), Verdict(Outcome.WRONG)
UNJUDGED = Verdict(Outcome.UNJUDGED, "deadline")


def test_the_total_is_the_weighted_sum():
    score = combine(RIGHT, 0.5, {"m:f": 2.0}, RewardsSpec(correctness=3.0, format=0.5, custom={"m:f": -0.25}))
    assert score.total == pytest.approx(3.0 + 0.25 - 0.5)
    assert score.correctness is Outcome.RIGHT
    assert score.custom == {"m:f": 2.0}


def test_the_default_reward_is_one_for_right_and_nought_for_wrong():
    assert combine(RIGHT, 0.0, {}, RewardsSpec()).total == 1.0
    assert combine(WRONG, 1.0, {}, RewardsSpec()).total == 0.0


def test_an_unjudged_answer_has_no_total():
    score = combine(UNJUDGED, 1.0, {}, RewardsSpec(format=1.0))
    assert score.total is None
    assert score.reason == "correctness: deadline"


def test_a_failed_custom_reward_leaves_no_total_but_the_verdict_stands():
    score = combine(RIGHT, 0.0, {"m:f": "crash", "m:g": 1.0}, RewardsSpec(custom={"m:f": 1.0, "m:g": 1.0}))
    assert score.total is None
    assert score.correctness is Outcome.RIGHT
    assert score.custom == {"m:g": 1.0}
    assert score.reason == "m:f: crash"


def test_a_part_of_weight_nought_may_fail():
    weights = RewardsSpec(correctness=0.0, format=1.0, custom={"m:f": 0.0})
    assert combine(UNJUDGED, 0.5, {"m:f": "crash"}, weights).total == 0.5
