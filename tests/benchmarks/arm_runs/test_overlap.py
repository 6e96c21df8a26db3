from pathlib import Path

import pytest
from arm_runs import overlap
from arm_runs.overlap import separate
from demo_arms.plan import write_plans

DEMO = Path(__file__).parents[3] / "examples" / "igpo-run.yaml"


def test_the_demo_holds_out_problems_that_no_document_trains_on(tmp_path):
    (plan,) = write_plans(DEMO, tmp_path, [0], problems=400, samples=8)
    found = separate(plan.jobs, 0)
    assert found.heldout == 400
    assert found.trained > 10_000


def test_trained_problems_among_the_held_out_ones_are_noticed(tmp_path, monkeypatch):
    (plan,) = write_plans(DEMO, tmp_path, [0], problems=400, samples=8)
    real = overlap.load_split

    def leaking(*arguments, **options):
        split = real(*arguments, **options)
        split.holdout[0] = split.train[0]
        return split

    monkeypatch.setattr(overlap, "load_split", leaking)
    with pytest.raises(AssertionError, match="prompts both trained on and held out"):
        separate(plan.jobs, 0)
