from pathlib import Path

import pytest
from demo_arms.plan import ARMS, write_plans

from igpo_trainer.spec.manifest import load_manifest

ROOT = Path(__file__).parents[3]
DEMO = ROOT / "examples" / "igpo-run.yaml"


def test_arms_of_a_seed_differ_in_algorithm_and_name_alone(tmp_path):
    (plan,) = write_plans(DEMO, tmp_path, [1], problems=400, samples=8)
    assert {arm: job.documents[0].spec.algorithm for arm, job in plan.arms.items()} == {arm: arm for arm in ARMS}
    assert len({job.documents[0].name for job in plan.arms.values()}) == 3
    without = [job.documents[0].spec.model_copy(update={"algorithm": "IGPO"}) for job in plan.arms.values()]
    assert without[0] == without[1] == without[2]


def test_everything_but_seed_hold_out_and_evaluation_comes_from_the_manifest(tmp_path):
    original = load_manifest(DEMO)[-1].spec
    (plan,) = write_plans(DEMO, tmp_path, [1], problems=400, samples=8)
    spec = plan.arms["IGPO"].documents[0].spec
    changed = {name for name in type(spec).model_fields if getattr(spec, name) != getattr(original, name)}
    assert changed <= {"seed", "model", "dataset", "evaluation"}
    assert spec.seed == 1
    assert spec.dataset.holdout.rows == 400
    assert spec.evaluation.every_steps == 0
    assert [(s.samples, s.temperature) for s in spec.evaluation.datasets] == [(1, 0.0), (8, spec.sampling.temperature)]
    assert spec.dataset.model_copy(update={"holdout": original.dataset.holdout}) == original.dataset


def test_every_arm_starts_from_the_sft_of_its_seed(tmp_path):
    plans = write_plans(DEMO, tmp_path, [0, 2], problems=400, samples=8)
    for plan in plans:
        last = plan.sft.documents[-1]
        assert all(document.spec.seed == plan.seed for document in plan.sft.documents)
        assert {job.documents[0].spec.model.from_.name for job in plan.arms.values()} == {last.name}
        assert last.name.endswith(f"-seed{plan.seed}")
    names = [str(document) for plan in plans for job in plan.jobs for document in job.documents]
    assert len(names) == len(set(names))


def test_a_manifest_without_sft_is_refused(tmp_path):
    alone = tmp_path / "alone.yaml"
    alone.write_text(DEMO.read_text().split("\n---\n")[-1])
    with pytest.raises(SystemExit, match="0 LengthAlignedSFT and 1 IGPOTraining"):
        write_plans(alone, tmp_path, [0], problems=400, samples=8)
