"""docs/results.md, written from the scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from arm_runs.markdown import machine, percent, points, table
from arm_runs.overlap import Overlap, overlap_text
from arm_runs.template import render

from demo_arms.plan import ARMS, SeedPlan
from demo_arms.scores import Arm, Bar, lead
from igpo_trainer.data.word_problems import LARGEST_TOTAL
from igpo_trainer.observe.estimates import Estimate
from igpo_trainer.observe.figures import duration
from igpo_trainer.spec.dataset import WordProblems
from igpo_trainer.spec.document import Document
from igpo_trainer.spec.yaml_document import write_document


@dataclass(frozen=True)
class Results:
    """Everything the page says."""

    manifest: Path
    plans: Sequence[SeedPlan]
    seeds: Sequence[Mapping[str, Arm]]
    overlaps: Sequence[Overlap]
    bars: Sequence[Bar]
    samples: int
    jobs: int


def page(results: Results, chart: str) -> str:
    """The page as Markdown; `chart` is the path of the chart as seen from it."""
    first = results.plans[0]
    end = results.seeds[0]["IGPO"].sampled_end
    scratch = first.sft.documents[0].spec.model.scratch
    return render(
        Path(__file__).parent / "results.md.jinja",
        manifest=results.manifest,
        verdict=verdict(results.bars),
        problems=len(end.score_P),
        samples=results.samples,
        spec=first.arms["IGPO"].documents[0].spec,
        last_step=end.step,
        arms=arms_table(results),
        jobs=results.jobs,
        leads=leads_table(results),
        chart=chart,
        worked_out_sft=worked_out(first.sft.documents[-1]),
        worked_out_rl=worked_out(first.arms["IGPO"].documents[0]),
        number_init=scratch.number_init if scratch else "",
        largest=LARGEST_TOTAL,
        overlap=overlap_text(results.overlaps),
        machine=machine(results.jobs),
        first_seed=first.seed,
        documents=[(d, write_document(d.raw)) for job in (first.sft, first.arms["IGPO"]) for d in job.documents],
    )


def verdict(found: Sequence[Bar]) -> str:
    """One line for each bar."""
    return "\n".join(f"- **{'PASS' if bar.passed else 'FAIL'}**: {bar.text} ({bar.found})" for bar in found)


def arms_table(results: Results) -> str:
    """One row for each seed and arm."""
    k = results.samples
    head = ("seed", "arm", f"accuracy, avg@{k}", "greedy accuracy", "all-wrong before rescue")
    head += ("rescued groups", "replaced completions", "rollouts", "training time")
    rows = [
        (
            str(arm.seed),
            arm.algorithm,
            _course(arm.sampled_start.accuracy, arm.sampled_end.accuracy),
            _course(arm.greedy_start.accuracy, arm.greedy_end.accuracy),
            _course(arm.sampled_start.all_wrong, arm.sampled_end.all_wrong),
            str(arm.rescued_groups),
            str(arm.replaced_completions),
            f"{arm.rollouts:,}",
            duration(arm.seconds),
        )
        for arms in results.seeds
        for arm in arms.values()
    ]
    return table(head, rows)


def leads_table(results: Results) -> str:
    """IGPO's lead over both baselines in every seed."""
    rows = [
        (str(arms["IGPO"].seed), *(points(lead(arms["IGPO"], arms[other])) for other in ARMS[1:]))
        for arms in results.seeds
    ]
    return table(("seed", *(f"IGPO − {other}" for other in ARMS[1:])), rows)


def worked_out(document: Document) -> str:
    """By difficulty, the share of traces that show every step."""
    options = document.spec.dataset.word_problems or WordProblems()
    return ", ".join(f"{d.steps} steps {100 * d.worked_out:g} %" for d in options.difficulties)


def _course(start: Estimate, end: Estimate) -> str:
    return f"{percent(start)} → {percent(end)}"
