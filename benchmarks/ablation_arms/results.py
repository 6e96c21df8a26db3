"""Every run of the ablations, and the comparisons that the page shows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ablation_arms.course import Course, Score, read_course
from ablation_arms.plan import RlPlan, SeedPlan
from igpo_trainer.observe.estimates import Estimate, Values
from igpo_trainer.observe.journal import read_metrics
from igpo_trainer.observe.records import EvaluationRecord, SftStepRecord
from igpo_trainer.spec.document import Document

PASS_AT = (2, 4, 8)


@dataclass(frozen=True)
class SftRun:
    """One SFT document that was carried out."""

    name: str
    steps: int
    tokens: int
    """Prompt and canvas tokens of all its batches."""
    greedy: float
    """Held-out accuracy at the end, on the canvas of RL."""
    seconds: float


@dataclass(frozen=True)
class RlRuns:
    """The RL runs from one SFT checkpoint with one RL seed."""

    plan: RlPlan
    courses: Mapping[str, Course]


@dataclass(frozen=True)
class SeedResults:
    """Everything of one SFT seed."""

    plan: SeedPlan
    base: Sequence[SftRun]
    treated: Mapping[str, Sequence[SftRun]]
    rl: Sequence[RlRuns]


def read_seed(plan: SeedPlan, out: Path, samples: int) -> SeedResults:
    """Read the journals of a seed. Raises SystemExit when RL arms were not measured on one start model."""
    ks = tuple(k for k in PASS_AT if k <= samples)
    runs = []
    for rl in plan.rl:
        courses = {arm: read_course(arm, document, out, samples, ks) for arm, document in rl.arms.items()}
        if len({course.start.sampled_P.tobytes() for course in courses.values()}) != 1:
            raise SystemExit(
                f"{rl.job.title}: the arms measured different start models; give another folder with --out"
            )
        runs.append(RlRuns(rl, courses))
    treated = {arm: [_sft_run(d, out) for d in documents] for arm, documents in plan.treated.items()}
    shared = plan.sft.documents[: len(plan.sft.documents) - sum(len(runs) for runs in treated.values())]
    return SeedResults(plan, [_sft_run(d, out) for d in shared], treated, runs)


def _sft_run(document: Document, out: Path) -> SftRun:
    records = read_metrics(out / document.kind / document.name)
    steps = [r for r in records if isinstance(r, SftStepRecord)]
    greedy = [r for r in records if isinstance(r, EvaluationRecord) and r.temperature == 0]
    return SftRun(
        name=document.name,
        steps=len(steps),
        tokens=sum(r.tokens.prompt + r.tokens.target for r in steps),
        greedy=greedy[-1].accuracy or 0.0,
        seconds=sum(r.time.seconds for r in records),
    )


def common_tokens(seeds: Sequence[SeedResults]) -> int:
    """The largest count of network tokens that every RL run reached."""
    return min(course.all_tokens for seed in seeds for runs in seed.rl for course in runs.courses.values())


def runs_of(seeds: Sequence[SeedResults], sft_arm: str) -> list[RlRuns]:
    """The RL runs of an SFT arm, seed by seed."""
    return [runs for seed in seeds for runs in seed.rl if runs.plan.sft_arm == sft_arm]


def difference(one: Score, other: Score, value: Callable[[Score], Values]) -> Estimate:
    """How far one is above the other, paired by problem; both are of the same problems."""
    return one.estimate(value(one) - value(other))
