"""Evaluation outside training: the same numbers as in the loop, for a model folder or a kept checkpoint."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate.accelerator import Accelerator

from igpo_trainer.folder import write_atomically
from igpo_trainer.loop.batching import BatchSizes, rollout_rows
from igpo_trainer.loop.data import RunData, load_data
from igpo_trainer.loop.evaluation import evaluate
from igpo_trainer.loop.identity import require_same_run
from igpo_trainer.loop.interruption import StopRequestedError
from igpo_trainer.loop.policy import Policy
from igpo_trainer.loop.ranks import Ranks
from igpo_trainer.loop.rollouts import RolloutWorker
from igpo_trainer.loop.setup import RunPlace, finished_model, judge_of, source_folder
from igpo_trainer.loop.store import CheckpointInfo, CheckpointStore
from igpo_trainer.models.gguf import is_gguf
from igpo_trainer.models.load import LoadedModel, load_model
from igpo_trainer.observe.evaluations import Evaluation
from igpo_trainer.observe.records import EvaluationRecord
from igpo_trainer.spec.contract import CHECKPOINTS_DIR
from igpo_trainer.spec.document import Document
from igpo_trainer.spec.errors import InterruptedRunError, InvalidRunError, RunError
from igpo_trainer.spec.identity import document_hash
from igpo_trainer.spec.model import ModelSpec


@dataclass(frozen=True, slots=True)
class Subject:
    """What is measured, on the evaluation sets of which document, and where it goes."""

    document: Document
    runs: Path
    """Folder of all runs."""
    model: Path | None = None
    """Model folder or hub id; None: best/ or final/ of the run, or its checkpoint of `step`."""
    step: int | None = None
    """Measure the kept checkpoint of this step with the very weights of training, adapters unmerged; 0: the start."""
    change: Mapping[str, Any] = field(default_factory=dict)
    """Fields that every evaluation set gets instead of its own."""
    out: Path | None = None
    """Folder that gets a file of all completions for every set."""

    @property
    def run_dir(self) -> Path:
        """Folder of the document's run."""
        return self.runs / self.document.kind / self.document.name


def measure(
    subject: Subject, ranks: Ranks | None = None, should_stop: Callable[[], bool] = lambda: False
) -> list[EvaluationRecord]:
    """Measure on all sets of the document, all processes together; every process returns the same records.

    Raises:
        InvalidRunError: there is no such model or checkpoint, or it is of another run.
        InterruptedRunError: should_stop said so.
        RunError: the files of completions cannot be written.

    """
    ranks = ranks or Ranks()
    spec = subject.document.spec
    checkpoint, sizes_of = _checkpoints(subject)
    with ExitStack() as resources:
        judge = resources.enter_context(judge_of(spec))
        loaded, data = ranks.everywhere(lambda: _load(subject))
        accelerator = Accelerator(cpu=not torch.cuda.is_available())
        policy = Policy(loaded.denoiser(), spec.optimizer, planned_updates=1, accelerator=accelerator)
        if checkpoint is not None:
            policy.load_weights(checkpoint.path)
        worker = RolloutWorker(
            policy=policy,
            tokenizer=loaded.tokenizer,
            judge=judge,
            ranks=ranks,
            sizes=_sizes(subject, policy, data, sizes_of, ranks),
            on_progress=lambda _: None,
            should_stop=should_stop,
        )
        try:
            return [
                _measured(subject, worker, data, index, step=checkpoint.step if checkpoint else 0)
                for index in range(len(spec.evaluation.datasets))
            ]
        except StopRequestedError as error:
            raise InterruptedRunError("told to stop; nothing was changed, start the evaluation again") from error


def _measured(subject: Subject, worker: RolloutWorker, data: RunData, index: int, *, step: int) -> EvaluationRecord:
    spec = subject.document.spec
    measured = spec.evaluation.datasets[index]
    changed = measured.model_copy(update=dict(subject.change))
    found = evaluate(worker, data.measured(measured), changed, spec, step=step)
    if subject.out is not None:
        worker.ranks.on_main(partial(_write, found, subject.out))
    return found.record


def _write(found: Evaluation, folder: Path) -> None:
    path = found.path(folder)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, found.encode())
    except OSError as error:
        raise RunError(f"{path}: cannot be written ({error.strerror}); make room or name another --out") from error


def _load(subject: Subject) -> tuple[LoadedModel, RunData]:
    spec = subject.document.spec
    if subject.step is None:
        if subject.model is not None and is_gguf(str(subject.model)):
            raise InvalidRunError(
                f"--model {subject.model} holds a causal model; name it in spec.model.source, set adapt, and measure "
                "it by --step 0"
            )
        source = str(subject.model or _result_folder(subject.run_dir))
        model = ModelSpec(source=source, precision=spec.model.precision, attention=spec.model.attention)
        loaded = load_model(model, seed=spec.seed)
    else:
        from_folder = source_folder(subject.document, RunPlace(root=subject.runs))
        loaded = load_model(spec.model, seed=spec.seed, from_folder=from_folder)
    return loaded, load_data(spec, loaded.tokenizer, loaded.max_positions)


def _checkpoints(subject: Subject) -> tuple[CheckpointInfo | None, Path | None]:
    """The checkpoint to measure, and the folder of the one whose batch sizes are kept; None where there is none."""
    if subject.model is not None:
        if subject.step is not None:
            raise InvalidRunError(f"--model and --step {subject.step} name two things to measure; give one of them")
        return None, None
    document, folder = subject.document, subject.run_dir / CHECKPOINTS_DIR
    limits = document.spec.checkpoints
    store = CheckpointStore(folder, limits.keep_last, limits.keep_best)
    latest = store.latest()
    sizes_of = None if latest is None else latest.path
    if not subject.step:
        return None, sizes_of
    require_same_run(subject.run_dir, document_hash(document), document.kind, document.name)
    kept = {info.step: info for info in store.all()}
    if (chosen := kept.get(subject.step)) is None:
        steps = ", ".join(map(str, kept)) or "none"
        raise InvalidRunError(
            f"{folder}: no checkpoint of step {subject.step}; kept are {steps}: name one of these, 0 for the start, "
            "or raise checkpoints.keepLast before a run"
        )
    return store.verify(chosen.path), chosen.path


def _sizes(subject: Subject, policy: Policy, data: RunData, sizes_of: Path | None, ranks: Ranks) -> BatchSizes:
    """Canvases per forward: as the run had, or by the memory at hand; the least of all ranks."""
    spec = subject.document.spec
    problems = [*data.train, *(e for measured in spec.evaluation.datasets for e in data.measured(measured))]
    longest = max(len(e.prompt_ids) for e in problems) + spec.completion_length
    sampling = spec.sampling
    rows = rollout_rows(
        spec.batching.rollout_rows, policy.denoiser, longest, sampling.block_length, sampling.kept_canvases
    )
    return BatchSizes.least(ranks.gather_objects(BatchSizes(rows, 1).kept(spec.batching, sizes_of)))


def _result_folder(run_dir: Path) -> Path:
    if (folder := finished_model(run_dir, "Best")) is not None:
        return folder
    raise InvalidRunError(f"{run_dir}: no finished model; run the manifest first, or name a folder with --model")
