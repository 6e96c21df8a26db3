"""The stage before SFT: the training traces rewritten by a teacher into `rewritten/` of the run's folder. No GPU."""

import os
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedTokenizerFast

from igpo_trainer.data.encode import encode_all
from igpo_trainer.data.problem import Problem
from igpo_trainer.data.readers import load_split
from igpo_trainer.folder import write_atomically
from igpo_trainer.loop.identity import Claim, claim, require_claimable
from igpo_trainer.loop.setup import RunPlace, refuse_unfinished_features, source_folder
from igpo_trainer.loop.stop import StopSignal
from igpo_trainer.models.load import load_tokenizer
from igpo_trainer.observe.console import Mode
from igpo_trainer.observe.exporter import Exporter, RunIdentity
from igpo_trainer.observe.records import RewriteRecord, State, Time
from igpo_trainer.observe.rewriting import RewritingView
from igpo_trainer.rewards.judge import Judge
from igpo_trainer.rewrite.answers import AnswerFile
from igpo_trainer.rewrite.assignment import Assignment
from igpo_trainer.rewrite.keep import Inspector
from igpo_trainer.rewrite.outcome import RewriteOutcome, outcome_of
from igpo_trainer.rewrite.result import DROPPED_FILE, KEPT_FILE, RewriteResult, encoded_rows, inputs_hash, read_result
from igpo_trainer.rewrite.teacher import check_address
from igpo_trainer.rewrite.work import Hooks, Row, Work
from igpo_trainer.spec.contract import REWRITE_RESULT_FILE, REWRITTEN_DIR, TEACHER_API_KEY_VARIABLE, RewriteStatus
from igpo_trainer.spec.document import Document
from igpo_trainer.spec.errors import InvalidDataError, InvalidRunError, RunError
from igpo_trainer.spec.identity import document_hash
from igpo_trainer.spec.sft import LengthAlignedSFTSpec, RewriteSpec

DRAIN_SECONDS = 10.0
"""How long answers in flight may take after Ctrl-C."""


@dataclass(slots=True)
class RewriteProgress:
    """How far the stage is, for whoever reports its end; None before it has begun."""

    status: RewriteStatus | None = None


def rewrite(
    document: Document,
    place: RunPlace,
    stop: StopSignal,
    *,
    drain_seconds: float = DRAIN_SECONDS,
    progress: RewriteProgress | None = None,
) -> RewriteRecord:
    """Rewrite the training traces of a document that `wants_rewrite`, keep what verifies and fits; what it came to.

    A finished result of the same inputs is left alone; an unfinished one goes on with the answers it has.

    Raises:
        InvalidRunError: the spec, the key, the model name or the budget. InvalidDataError: no rewrite can be kept.
        InterruptedRunError: told to stop, or a newer attempt owns the folder.
        RunError: the teacher is down, the disk is full. In every case the answers so far are kept.

    """
    spec, began = document.spec, time.time()
    assert isinstance(spec, LengthAlignedSFTSpec)
    assert spec.rewrite is not None
    refuse_unfinished_features(document)
    check_address(spec.rewrite.teacher.base_url)
    run_dir, digest = place.run_dir(document.kind, document.name), document_hash(document)
    require_claimable(run_dir, digest, document.kind, document.name)
    from_folder = source_folder(document, place)
    problems = load_split(spec.dataset, spec.prompt, seed=spec.seed).train
    inputs = inputs_hash(problems, spec)
    progress = progress or RewriteProgress()
    if (finished := read_result(run_dir / REWRITTEN_DIR, inputs)) is not None:
        progress.status = _status_of(finished.record)
        return finished.record
    api_key = _api_key(document, spec.rewrite)
    tokenizer, assignment = load_tokenizer(spec.model, from_folder=from_folder), Assignment.of(spec)
    rows, overlong = _rows(spec, problems, tokenizer, assignment)
    with ExitStack() as resources:
        owner = claim(
            run_dir, digest, kind=document.kind, name=document.name, run_id=place.run_id, attempt=place.attempt
        )
        show = _views(document, place, owner, stop, resources, progress)
        try:
            answers = resources.enter_context(AnswerFile(run_dir / REWRITTEN_DIR))
            inspector = Inspector(tokenizer, resources.enter_context(Judge()), spec.length.target)
            hooks = Hooks(owner.require_owner, show, stop, drain_seconds)
            work = Work(rows, answers, inspector, spec.rewrite, assignment, api_key, hooks)
            work.run()
            owner.require_owner()
            outcome = outcome_of(work)
            return _publish(run_dir / REWRITTEN_DIR, spec, inputs, work, outcome, overlong, began)
        except OSError as error:
            raise RunError(
                f"{run_dir}: {' '.join(str(error).split())}; the teacher's answers so far are kept; make room or mend "
                "the volume, then start again"
            ) from error


def _rows(
    spec: LengthAlignedSFTSpec, problems: list[Problem], tokenizer: PreTrainedTokenizerFast, assignment: Assignment
) -> tuple[list[Row], int]:
    """What is asked about, and how many problems are left out because training would leave out their prompt."""
    encoded, report = encode_all(
        problems,
        tokenizer,
        spec.prompt,
        spec.dataset,
        completion_length=spec.completion_length,
        long_traces="Count",
    )
    rows = [Row(e.problem, len(e.trace_ids) + 1, assignment.request(e.problem)) for e in encoded]
    return rows, report.dropped_overlong


def _status_of(record: RewriteRecord) -> RewriteStatus:
    """The status of a rewrite that was finished before."""
    return RewriteStatus(
        rows=record.rows,
        done=record.rows,
        cached=record.rows,
        kept=record.kept,
        dropped=sum(record.dropped.values()),
        tokens=record.prompt_tokens + record.completion_tokens,
    )


def _api_key(document: Document, spec: RewriteSpec) -> str | None:
    """The key from the environment; None where the endpoint needs none."""
    key = os.environ.get(TEACHER_API_KEY_VARIABLE) or None
    if key is None and spec.teacher.api_key_secret_ref is not None:
        where = document.place("spec", "rewrite", "teacher", "apiKeySecretRef")
        raise InvalidRunError(
            f"{where}: the teacher's key is missing: {TEACHER_API_KEY_VARIABLE} is not set; set it to the key, or "
            "remove apiKeySecretRef if the endpoint needs none"
        )
    return key


def _views(
    document: Document,
    place: RunPlace,
    owner: Claim,
    stop: StopSignal,
    resources: ExitStack,
    progress: RewriteProgress,
) -> Callable[[RewriteStatus], None]:
    """Open /metrics, /status and the terminal's view; what shows a status on all of them."""
    spec = document.spec
    assert isinstance(spec, LengthAlignedSFTSpec)
    exporter = Exporter(
        RunIdentity(
            kind=document.kind,
            name=document.name,
            algorithm="SFT",
            model=spec.model.from_.name if spec.model.from_ else spec.model.source or "scratch",
            dataset=spec.dataset.source,
            seed=spec.seed,
            spec_hash=owner.identity.spec_hash,
            run_id=owner.identity.run_id,
            attempt=owner.identity.attempt,
            adopted=owner.adopted,
        )
    )
    exporter.serve(place.metrics_port, place.metrics_address, next_free=place.port_may_move)
    resources.callback(exporter.close, place.linger_seconds, stop.wait)
    exporter.state(State.REWRITE)
    view = resources.enter_context(RewritingView(str(document), place.mode or Mode.detect()))

    def show(status: RewriteStatus) -> None:
        before = progress.status or status.model_copy(update={"done": status.cached, "kept": 0, "dropped": 0})
        units = status.done + status.kept + status.dropped - before.done - before.kept - before.dropped
        exporter.progress(max(0, units))
        exporter.rewriting(status)
        view.show(status, time.monotonic(), last=status.done == status.rows == status.kept + status.dropped)
        progress.status = status

    return show


def _publish(
    folder: Path,
    spec: LengthAlignedSFTSpec,
    inputs: str,
    work: Work,
    outcome: RewriteOutcome,
    overlong: int,
    began: float,
) -> RewriteRecord:
    """Write kept.jsonl, dropped.jsonl and, when anything is kept, result.json, in this order."""
    dropped = Counter(outcome.reasons)
    if overlong:
        dropped["overlong prompt"] = overlong
    write_atomically(folder / KEPT_FILE, encoded_rows(outcome.kept))
    write_atomically(folder / DROPPED_FILE, encoded_rows(outcome.dropped))
    if not outcome.kept:
        counts = ", ".join(f"{count} {reason}" for reason, count in dropped.most_common())
        raise InvalidDataError(
            f"none of {len(work.rows)} rewrites by {work.assignment.model} can be kept ({counts}); look at "
            f"{folder / DROPPED_FILE}, then change rewrite.prompt, rewrite.teacher or length.target"
        )
    record = RewriteRecord(
        teacher=work.assignment.model,
        base_url=work.assignment.base_url,
        prompt_hash=work.assignment.prompt_hash,
        rows=len(work.rows) + overlong,
        kept=len(outcome.kept),
        dropped=dict(sorted(dropped.items())),
        original_lengths=dict(Counter(row.original_tokens for row in work.rows)),
        kept_lengths=dict(Counter(row.tokens for row in outcome.kept if row.tokens is not None)),
        prompt_tokens=work.answers.prompt_tokens,
        completion_tokens=work.answers.completion_tokens,
        target_length=spec.length.target,
        time=Time(at=time.time(), seconds=time.time() - began),
    )
    result = RewriteResult(inputs=inputs, record=record)
    write_atomically(folder / REWRITE_RESULT_FILE, (result.model_dump_json(indent=1) + "\n").encode())
    return record
