"""docs/ablations.md, written from the results."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from arm_runs.markdown import machine, percent, points, table
from arm_runs.overlap import Overlap, overlap_text
from arm_runs.template import render

from ablation_arms.course import Course, Score
from ablation_arms.plan import DEFAULT_ARM, Settings
from ablation_arms.results import RlRuns, SeedResults, SftRun, common_tokens, difference, runs_of
from igpo_trainer.observe.estimates import Estimate, Values
from igpo_trainer.observe.figures import duration
from igpo_trainer.spec.igpo import IGPOTrainingSpec
from igpo_trainer.spec.yaml_document import write_document

Reading: TypeAlias = Callable[[Course], Score]
"""Where in a run it is read: at its last step, or at a count of tokens."""


@dataclass(frozen=True)
class Results:
    """Everything the page says."""

    settings: Settings
    manifest: str
    command: str
    seeds: Sequence[SeedResults]
    overlaps: Sequence[Overlap]
    jobs: int


def page(results: Results, charts: Sequence[tuple[str, str]]) -> str:
    """The page as Markdown; `charts` are (path as seen from it, description)."""
    tokens = common_tokens(results.seeds)
    first = results.seeds[0].plan
    rl = next(iter(first.rl[0].arms.values()))
    assert isinstance(rl.spec, IGPOTrainingSpec)
    readings: list[tuple[str, Reading]] = [
        (f"Equal steps: after step {rl.spec.steps}", lambda course: course.end),
        (f"Equal tokens: after {tokens:,} network tokens", lambda course: course.at_tokens(tokens)),
    ]
    return render(
        Path(__file__).parent / "ablations.md.jinja",
        manifest=results.manifest,
        command=results.command,
        settings=results.settings,
        rl=rl.spec,
        ks=_ks(results),
        sft=sft_table(results.seeds),
        starts=starts_table(results),
        readings=[
            {
                "title": title,
                "means": means_table(results, reading),
                "leads": leads_table(results, reading),
                "between": between_table(results, reading),
                "seeds": seeds_table(results, reading),
            }
            for title, reading in readings
        ],
        cost=cost_table(results),
        charts=charts,
        overlap=overlap_text(results.overlaps),
        machine=machine(results.jobs),
        spent=duration(_seconds(results.seeds)),
        first_seed=first.seed,
        documents=[(d, write_document(d.raw)) for d in (*first.sft.documents, *first.rl[0].arms.values())],
    )


def sft_table(seeds: Sequence[SeedResults]) -> str:
    """One row for each SFT document of each seed."""

    def row(seed: SeedResults, arm: str, run: SftRun) -> tuple[str, ...]:
        return str(seed.plan.seed), arm, run.name, str(run.steps), f"{run.tokens:,}", f"{100 * run.greedy:.1f} %"

    rows = []
    for seed in seeds:
        rows += [row(seed, "all", run) for run in seed.base]
        rows += [row(seed, arm, run) for arm, runs in seed.treated.items() for run in runs]
    return table(("seed", "SFT arm", "document", "updates", "network tokens", "greedy accuracy, own mix"), rows)


def starts_table(results: Results) -> str:
    """What RL starts from, for each SFT arm and seed."""
    rows = []
    for sft_arm in results.settings.sft_arms:
        for runs in runs_of(results.seeds, sft_arm):
            start = next(iter(runs.courses.values())).start
            rows.append((sft_arm, runs.plan.label, *_figures(start, results)))
    return table(("SFT arm", "seed", *_head(results)), rows)


def means_table(results: Results, reading: Reading) -> str:
    """For each SFT and RL arm the mean over seeds and the range of the seeds."""
    rows = []
    for sft_arm in results.settings.sft_arms:
        for arm in results.settings.arms_from(sft_arm):
            scores = [reading(runs.courses[arm]) for runs in runs_of(results.seeds, sft_arm)]
            rows.append((sft_arm, arm, *(_mean_and_range([value(s) for s in scores]) for value in _values(results))))
    return table(("SFT arm", "RL arm", *_head(results)), rows)


def seeds_table(results: Results, reading: Reading) -> str:
    """Every single run, with intervals over problems."""
    rows = [
        (sft_arm, arm, runs.plan.label, *_figures(reading(runs.courses[arm]), results))
        for sft_arm in results.settings.sft_arms
        for arm in results.settings.arms_from(sft_arm)
        for runs in runs_of(results.seeds, sft_arm)
    ]
    return table(("SFT arm", "RL arm", "seed", *_head(results)), rows)


def leads_table(results: Results, reading: Reading) -> str:
    """Accuracy of every RL arm minus that of the default IGPO arm, by seed."""
    rows = []
    for sft_arm in results.settings.sft_arms:
        runs = runs_of(results.seeds, sft_arm)
        for arm in results.settings.arms_from(sft_arm):
            if arm == DEFAULT_ARM or DEFAULT_ARM not in results.settings.rl_arms:
                continue
            found = [_difference(r, arm, r, DEFAULT_ARM, reading) for r in runs]
            rows.append((sft_arm, f"{arm} − {DEFAULT_ARM}", _mean_of(found), *map(points, found)))
    return table(("SFT arm", "difference", "mean", *_seed_columns(results)), rows)


def between_table(results: Results, reading: Reading) -> str:
    """Accuracy of every RL arm from each other SFT arm, minus that from the first SFT arm, by seed."""
    first, *others = results.settings.sft_arms
    rows = []
    for other in others:
        pairs = list(zip(runs_of(results.seeds, other), runs_of(results.seeds, first), strict=True))
        for arm in results.settings.arms_from(other):
            found = [_difference(one, arm, two, arm, reading) for one, two in pairs]
            rows.append((arm, f"{other} − {first}", _mean_of(found), *map(points, found)))
    return table(("RL arm", "difference", "mean", *_seed_columns(results)), rows)


def cost_table(results: Results) -> str:
    """What every run cost, how often its groups needed rescue, and whether its completions show the work."""
    rows = []
    for sft_arm in results.settings.sft_arms:
        for arm in results.settings.arms_from(sft_arm):
            for runs in runs_of(results.seeds, sft_arm):
                course = runs.courses[arm]
                wrong = [share for _, share in course.train_all_wrong]
                rows.append(
                    (
                        sft_arm,
                        arm,
                        runs.plan.label,
                        f"{course.all_tokens:,}",
                        f"{course.rollouts:,}",
                        f"{100 * sum(wrong) / len(wrong):.1f} %",
                        f"{course.rescued} of {course.attempted}",
                        f"{course.lengths[0]:.1f} → {course.lengths[1]:.1f}",
                        duration(course.seconds),
                    )
                )
    head = ("SFT arm", "RL arm", "seed", "network tokens", "rollouts", "training groups all-wrong before rescue")
    return table((*head, "rescued groups", "tokens a completion, first → last step", "time of the steps"), rows)


def _difference(one: RlRuns, arm: str, other: RlRuns, other_arm: str, reading: Reading) -> Estimate:
    return difference(reading(one.courses[arm]), reading(other.courses[other_arm]), lambda score: score.sampled_P)


def _ks(results: Results) -> tuple[int, ...]:
    return tuple(next(iter(results.seeds[0].rl[0].courses.values())).start.passed_P)


def _values(results: Results) -> list[Callable[[Score], Values]]:
    passed: list[Callable[[Score], Values]] = [lambda s, k=k: s.passed_P[k] for k in _ks(results)]  # type: ignore[misc]
    return [lambda s: s.sampled_P, *passed, lambda s: s.greedy_P, lambda s: s.all_wrong_P]


def _head(results: Results) -> list[str]:
    passed = [f"pass@{k}" for k in _ks(results)]
    return [f"avg@{results.settings.samples} = pass@1", *passed, "greedy", "all-wrong before rescue"]


def _figures(score: Score, results: Results) -> list[str]:
    return [percent(score.estimate(value(score))) for value in _values(results)]


def _seed_columns(results: Results) -> list[str]:
    return [f"seed {runs.plan.label}" for runs in runs_of(results.seeds, results.settings.sft_arms[0])]


def _mean_and_range(values: Sequence[Values]) -> str:
    means = [100 * float(value_P.mean()) for value_P in values]
    return f"{sum(means) / len(means):.1f} % ({min(means):.1f} to {max(means):.1f})"


def _mean_of(found: Sequence[Estimate]) -> str:
    means = [100 * estimate.mean for estimate in found]
    return f"{sum(means) / len(means):+.1f} ({min(means):+.1f} to {max(means):+.1f})"


def _seconds(seeds: Sequence[SeedResults]) -> float:
    """Time of all runs together, evaluations included."""
    sft = sum(run.seconds for seed in seeds for runs in (seed.base, *seed.treated.values()) for run in runs)
    courses = [course for seed in seeds for runs in seed.rl for course in runs.courses.values()]
    return sft + sum(course.seconds + course.seconds_evaluating for course in courses)
