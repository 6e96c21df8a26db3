import pytest

from igpo_trainer.loop.ranks import Ranks
from igpo_trainer.loop.setup import source_folder
from igpo_trainer.loop.telemetry import Telemetry
from igpo_trainer.observe.records import CheckpointRecord, Phase, SftStepRecord, StepTime, Time
from igpo_trainer.spec.errors import InvalidRunError


def test_a_suspended_run_is_refused_before_anything_is_written(desk):
    with pytest.raises(InvalidRunError, match=r"spec\.suspend is true") as caught:
        desk.train(desk.sft(suspend=True))
    assert caught.value.exit_code == 64
    assert not (desk.root / "LengthAlignedSFT").exists()


def test_rows_of_an_update_fit_the_canvas_that_they_are_trained_on(desk, monkeypatch):
    monkeypatch.setattr("igpo_trainer.loop.batching.CPU_BUDGET_BYTES", 2**23)
    with desk.session(desk.sft("short")) as session:
        short = session.batch_sizes
    with desk.session(desk.context(length={"contextTokens": 24})) as session:
        assert session.batch_sizes.update_rows == short.update_rows
        assert short.context_rows == 1 < session.batch_sizes.context_rows < short.update_rows


@pytest.mark.parametrize(
    ("setting", "budget", "recomputes"),
    [("Auto", 2**31, False), ("Auto", 2**14, True), ("Never", 2**14, False), ("Always", 2**31, True)],
)
def test_activations_are_made_again_only_where_one_row_of_them_does_not_fit(
    desk, monkeypatch, setting, budget, recomputes
):
    monkeypatch.setattr("igpo_trainer.loop.batching.CPU_BUDGET_BYTES", budget)
    with desk.session(desk.sft(model={"gradientCheckpointing": setting})) as session:
        (layer,) = session.policy.denoiser.causal_lm.model.layers
        assert layer.gradient_checkpointing is recomputes


def test_a_run_whose_source_has_not_finished_is_refused(desk):
    origin = {"from": {"kind": "LengthAlignedSFT", "name": "absent"}}
    with pytest.raises(InvalidRunError, match=r"LengthAlignedSFT/absent has no finished model in .*; run it first"):
        desk.train(desk.igpo(model=origin))
    assert not (desk.root / "IGPOTraining").exists()


@pytest.mark.parametrize(("checkpoint", "folder"), [("Best", "best"), ("Final", "final")])
def test_the_asked_for_checkpoint_of_the_source_run_is_taken(desk, checkpoint, folder):
    origin = {"from": {"kind": "LengthAlignedSFT", "name": "base", "checkpoint": checkpoint}}
    (document,) = desk.load(desk.root, desk.igpo(model=origin))
    run_dir = desk.place().from_root / "LengthAlignedSFT" / "base"
    assert source_folder(document, desk.place()) == run_dir / "final"
    here = type(desk)(desk.root, desk.root)
    for name in ("best", "final"):
        (desk.root / "LengthAlignedSFT" / "base" / name).mkdir(parents=True)
        (desk.root / "LengthAlignedSFT" / "base" / name / "config.json").write_text("{}")
    assert source_folder(document, here.place()).name == folder


def test_a_scratch_run_has_no_source(desk):
    (document,) = desk.load(desk.root, desk.sft())
    assert source_folder(document, desk.place()) is None


def test_a_tracker_that_is_not_installed_is_refused_instead_of_never_fed(desk, monkeypatch):
    monkeypatch.setattr("igpo_trainer.loop.setup.get_available_trackers", list)
    with pytest.raises(InvalidRunError, match=r"manifest\.yaml:\d+: spec\.trackers mlflow, wandb cannot be imported"):
        desk.train(desk.sft(trackers=["wandb", "mlflow"]))
    assert not (desk.root / "LengthAlignedSFT").exists()


def test_trackers_are_fed_the_figures_of_steps_and_evaluations_only():
    fed = []
    telemetry = Telemetry(Ranks(), track=lambda values, step: fed.append((step, values)))
    telemetry.publish(CheckpointRecord(step=3, name="step-00000003", time=Time(at=0.0)))
    telemetry.publish(SftStepRecord(step=4, loss=1.5, target_length=16, time=StepTime(at=0.0)))
    ((step, values),) = fed
    assert step == 4
    assert 1.5 in values.values()


def test_phases_are_timed_and_forgotten_at_the_next_step():
    telemetry = Telemetry(Ranks())
    with telemetry.phase(Phase.ROLLOUT), telemetry.phase(Phase.JUDGE):
        pass
    spent = telemetry.step_time()
    assert set(spent.phases) == {Phase.ROLLOUT, Phase.JUDGE}
    assert 0 <= spent.phases[Phase.JUDGE] <= spent.phases[Phase.ROLLOUT] <= spent.seconds
    assert len(spent.rank_seconds) == 1
    telemetry.start_step()
    assert telemetry.step_time().phases == {}


def test_a_failing_phase_is_timed_too():
    telemetry = Telemetry(Ranks())
    with pytest.raises(ArithmeticError), telemetry.phase(Phase.UPDATE):
        raise ArithmeticError
    assert set(telemetry.step_time().phases) == {Phase.UPDATE}
