"""Evaluation outside training: the same numbers as in the loop, for a model folder."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from accelerate.accelerator import Accelerator
from rich.console import Console
from rich.table import Table

from igpo_trainer.loop.batching import rollout_rows
from igpo_trainer.loop.data import load_data
from igpo_trainer.loop.evaluation import evaluate
from igpo_trainer.loop.policy import Policy
from igpo_trainer.loop.ranks import Ranks
from igpo_trainer.loop.rollouts import RolloutWorker
from igpo_trainer.loop.setup import finished_model, judge_of
from igpo_trainer.models.load import load_model
from igpo_trainer.observe.records import EvaluationRecord
from igpo_trainer.spec.document import Document
from igpo_trainer.spec.errors import InvalidRunError
from igpo_trainer.spec.model import ModelSpec


def measure(document: Document, runs: Path, model: Path | None, change: Mapping[str, Any]) -> list[EvaluationRecord]:
    """Measure a model folder on the evaluation sets of `document`, each with `change` applied.

    Raises InvalidRunError when there is no model to measure.
    """
    spec = document.spec
    folder = model or _result_folder(runs / document.kind / document.name)
    source = ModelSpec(source=str(folder), precision=spec.model.precision, attention=spec.model.attention)
    with ExitStack() as resources:
        loaded = load_model(source, seed=spec.seed)
        data = load_data(spec, loaded.tokenizer, loaded.max_positions)
        accelerator = Accelerator(cpu=not torch.cuda.is_available())
        policy = Policy(loaded.denoiser(), spec.optimizer, planned_updates=1, accelerator=accelerator)
        longest = max(len(e.prompt_ids) for e in data.heldout) + spec.completion_length
        worker = RolloutWorker(
            policy=policy,
            tokenizer=loaded.tokenizer,
            judge=resources.enter_context(judge_of(spec)),
            ranks=Ranks(),
            rows=rollout_rows(spec.batching.rollout_rows, policy.denoiser, longest, spec.sampling.block_length),
            on_progress=lambda _: None,
            should_stop=lambda: False,
        )
        return [
            evaluate(
                worker,
                data.measured(measured),
                measured.model_copy(update=dict(change)),
                spec.sampling,
                step=0,
                seed=spec.seed,
            )
            for measured in spec.evaluation.datasets
        ]


def table(records: Sequence[EvaluationRecord]) -> str:
    """The records as an aligned table."""
    drawn = Table("data set", "problems", "samples", "T", "accuracy", "95 % interval", "pass@k", "all wrong", box=None)
    for r in records:
        drawn.add_row(
            r.dataset,
            str(r.problems),
            str(r.samples),
            f"{r.temperature:g}",
            _share(r.accuracy),
            f"{_share(r.interval_low)} to {_share(r.interval_high)}",
            _share(r.pass_at_k),
            _share(r.all_wrong),
        )
    console = Console(width=110, record=False, highlight=False)
    with console.capture() as captured:
        console.print(drawn)
    return captured.get().rstrip()


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _result_folder(run_dir: Path) -> Path:
    if (folder := finished_model(run_dir, "Best")) is not None:
        return folder
    raise InvalidRunError(f"{run_dir}: no finished model; run the manifest first, or name a folder with --model")
