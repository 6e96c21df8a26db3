"""docs/results.md, written from the scores."""

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from demo_arms.plan import ARMS, SeedPlan
from demo_arms.scores import Arm, Bar, Estimate, Overlap, lead
from demo_arms.template import render
from igpo_trainer.data.word_problems import LARGEST_TOTAL
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
        "results.md.jinja",
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
        worked_out_sft=_worked_out(first.sft.documents[-1]),
        worked_out_rl=_worked_out(first.arms["IGPO"].documents[0]),
        number_init=scratch.number_init if scratch else "",
        largest=LARGEST_TOTAL,
        overlap=overlap_text(results),
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
    return _table(head, rows)


def leads_table(results: Results) -> str:
    """IGPO's lead over both baselines in every seed."""
    rows = [
        (str(arms["IGPO"].seed), *(_points(lead(arms["IGPO"], arms[other])) for other in ARMS[1:]))
        for arms in results.seeds
    ]
    return _table(("seed", *(f"IGPO − {other}" for other in ARMS[1:])), rows)


def overlap_text(results: Results) -> str:
    """What separates training and hold-out, checked for every seed."""
    lines = ["The structure of a problem is its sequence of operations. Checked before the figures were read:", ""]
    for plan, found in zip(results.plans, results.overlaps, strict=True):
        lines.append(
            f"- seed {plan.seed}: {found.trained:,} prompts of {found.trained_structures} structures are trained on by "
            f"SFT or RL, {found.heldout} of {found.heldout_structures} structures are held out; 0 prompts and 0 "
            "structures in both"
        )
    return "\n".join(lines)


def machine(jobs: int) -> str:
    """Where the figures were made."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return (
        f"Machine: {os.cpu_count()} CPU cores ({platform.machine()}), {device}, torch {torch.__version__}, "
        f"Python {platform.python_version()}; up to {jobs} runs at a time, one thread each."
    )


def _worked_out(document: Document) -> str:
    options = document.spec.dataset.word_problems or WordProblems()
    return ", ".join(f"{d.steps} steps {100 * d.worked_out:g} %" for d in options.difficulties)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _course(start: Estimate, end: Estimate) -> str:
    return f"{_percent(start)} → {_percent(end)}"


def _percent(value: Estimate) -> str:
    return f"{100 * value.mean:.1f} % [{100 * value.low:.1f}, {100 * value.high:.1f}]"


def _points(value: Estimate) -> str:
    return f"{100 * value.mean:+.1f} [{100 * value.low:+.1f}, {100 * value.high:+.1f}]"
