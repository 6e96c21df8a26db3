"""What the runs achieved, from their journals alone, and the verdicts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from arm_runs.measured import Measured, measurements, rollouts

from demo_arms.plan import ARMS, SeedPlan
from igpo_trainer.observe.estimates import Estimate
from igpo_trainer.observe.journal import read_metrics
from igpo_trainer.observe.records import EndRecord, StepRecord
from igpo_trainer.spec.igpo import IGPOTrainingSpec

LEAST_LEAD = 0.10
LEAST_FALL = 0.30


@dataclass(frozen=True)
class Arm:
    """One finished RL run. `sampled` are several samples at the training temperature, `greedy` is one at 0."""

    algorithm: str
    seed: int
    sampled_start: Measured
    sampled_end: Measured
    greedy_start: Measured
    greedy_end: Measured
    rescued_groups: int
    replaced_completions: int
    rollouts: int
    seconds: float
    all_wrong: tuple[tuple[int, float | None], ...]
    """(step, share of all-wrong training groups before rescue)."""

    @property
    def all_wrong_fall(self) -> float:
        """By which share of its start the held-out all-wrong fraction fell; 0 when there was none."""
        start = self.sampled_start.all_wrong.mean
        return 1.0 - self.sampled_end.all_wrong.mean / start if start else 0.0


@dataclass(frozen=True)
class Bar:
    """Something that was promised beforehand."""

    text: str
    passed: bool
    found: str


def read_arms(plan: SeedPlan, out: Path, samples: int) -> dict[str, Arm]:
    """The arms of a seed. Raises SystemExit when they were not measured on one start model."""
    arms = {name: _read_arm(name, plan, out, samples) for name in ARMS}
    starts = {arm.sampled_start.score_P.tobytes() for arm in arms.values()}
    if len(starts) != 1:
        raise SystemExit(f"seed {plan.seed}: the arms measured different start models; give another folder with --out")
    return arms


def _read_arm(name: str, plan: SeedPlan, out: Path, samples: int) -> Arm:
    job = plan.arms[name]
    (run_dir,) = job.run_dirs(out)
    spec = job.documents[0].spec
    assert isinstance(spec, IGPOTrainingSpec)
    records = read_metrics(run_dir)
    steps = [r for r in records if isinstance(r, StepRecord)]
    (end,) = [r for r in records if isinstance(r, EndRecord)]

    problems = spec.dataset.holdout.rows
    temperature = spec.sampling.temperature
    sampled = measurements(records, plan.seed, samples=samples, temperature=temperature, problems=problems)
    greedy = measurements(records, plan.seed, samples=1, temperature=0.0, problems=problems)
    return Arm(
        algorithm=name,
        seed=plan.seed,
        sampled_start=sampled[0],
        sampled_end=sampled[end.step],
        greedy_start=greedy[0],
        greedy_end=greedy[end.step],
        rescued_groups=sum(r.rescue.rescued for r in steps),
        replaced_completions=sum(r.replaced for r in steps),
        rollouts=sum(rollouts(r, spec.group_size) for r in steps),
        seconds=sum(r.time.seconds for r in steps),
        all_wrong=tuple((r.step, r.groups_initial.all_wrong_ratio) for r in steps),
    )


def lead(one: Arm, other: Arm) -> Estimate:
    """How far `one` ends above `other`, paired by problem."""
    return Estimate.of(one.sampled_end.score_P - other.sampled_end.score_P, one.seed)


def bars(seeds: Sequence[Mapping[str, Arm]]) -> list[Bar]:
    """The promises, kept or not; each must hold for every seed."""
    leads = [lead(arms["IGPO"], arms["Resample"]).mean for arms in seeds]
    falls = [arms["IGPO"].all_wrong_fall for arms in seeds]
    ahead = sum(value >= LEAST_LEAD for value in leads)
    fallen = sum(value >= LEAST_FALL for value in falls)
    return [
        Bar(
            f"IGPO ends at least {100 * LEAST_LEAD:.0f} points above Resample in every seed",
            ahead == len(seeds),
            f"{ahead} of {len(seeds)}: " + ", ".join(f"{100 * value:+.1f}" for value in leads) + " points",
        ),
        Bar(
            f"under IGPO the held-out all-wrong share before rescue falls by {100 * LEAST_FALL:.0f} % in every seed",
            fallen == len(seeds),
            f"{fallen} of {len(seeds)}: " + ", ".join(f"{100 * value:.0f} %" for value in falls),
        ),
    ]
