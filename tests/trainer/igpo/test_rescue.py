import pytest
from hypothesis import given
from hypothesis import strategies as st

from igpo_trainer.igpo.rescue import replace_wrong
from igpo_trainer.igpo.rollout import Group, Rollout
from igpo_trainer.rewards.verdict import Outcome


def rollouts(outcomes, tag=0):
    earned = {Outcome.RIGHT: 1.0, Outcome.WRONG: 0.0, Outcome.UNJUDGED: None}
    return tuple(Rollout((tag, i), 2, o, earned[o]) for i, o in enumerate(outcomes))


any_outcomes = st.lists(st.sampled_from(list(Outcome)), min_size=2, max_size=12)


@given(any_outcomes, st.data(), st.integers(0, 12))
def test_at_most_lambda_g_wrong_rows_are_replaced_and_only_by_verified_ones(outcomes, data, most):
    candidates = data.draw(st.lists(st.sampled_from(list(Outcome)), min_size=len(outcomes), max_size=len(outcomes)))
    group = Group(0, 0, rollouts(outcomes))
    result = replace_wrong(group, rollouts(candidates, tag=1), most)
    changed = [i for i, (a, b) in enumerate(zip(group.rollouts, result.rollouts, strict=True)) if a != b]
    possible = sum(a is Outcome.WRONG and b is Outcome.RIGHT for a, b in zip(outcomes, candidates, strict=True))
    assert len(changed) == min(most, possible)
    for i in changed:
        assert outcomes[i] is Outcome.WRONG
        assert result.rollouts[i].outcome is Outcome.RIGHT
        assert result.rollouts[i].replaced


@given(any_outcomes)
def test_a_rescue_is_triggered_only_when_every_rollout_is_judged_and_none_right(outcomes):
    assert Group(0, 0, rollouts(outcomes)).all_wrong == all(o is Outcome.WRONG for o in outcomes)


@pytest.mark.parametrize(
    ("outcomes", "composition"),
    [
        ("ww", "all_wrong"),
        ("rr", "all_correct"),
        ("rw", "mixed"),
        ("wu", "undecided"),
        ("ru", "undecided"),
        ("rwu", "mixed"),
    ],
)
def test_groups_are_named_by_their_verdicts(outcomes, composition):
    names = {"w": Outcome.WRONG, "r": Outcome.RIGHT, "u": Outcome.UNJUDGED}
    assert Group(0, 0, rollouts([names[o] for o in outcomes])).composition == composition
