"""The encoded problems of a run: trained on, held out, measured."""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from transformers import PreTrainedTokenizerBase

from igpo_trainer.data.encode import encode_all
from igpo_trainer.data.problem import EncodedProblem, Problem
from igpo_trainer.data.readers import load_evaluation, load_split
from igpo_trainer.observe.records import DataRecord, RewriteRecord, Time
from igpo_trainer.rewrite.result import inputs_hash, kept_problems, read_result
from igpo_trainer.spec.contract import REWRITE_RESULT_FILE
from igpo_trainer.spec.document import Document, Spec
from igpo_trainer.spec.errors import InvalidDataError, InvalidRunError
from igpo_trainer.spec.run import HOLDOUT, EvaluationSet
from igpo_trainer.spec.sft import LengthAlignedSFTSpec, LengthSpec

OVERLONG: Final = "overlong prompt"


@dataclass(frozen=True, slots=True)
class RunData:
    """Problems in token ids."""

    train: tuple[EncodedProblem, ...]
    heldout: tuple[EncodedProblem, ...]
    others: Mapping[EvaluationSet, tuple[EncodedProblem, ...]]
    """Evaluation sets that are not the hold-out."""
    record: DataRecord
    rewrite: RewriteRecord | None = None
    """What came of rewriting the training traces, where they were."""

    @property
    def opening(self) -> tuple[RewriteRecord | DataRecord, ...]:
        """What the journal says of the data before the first step."""
        return (self.record,) if self.rewrite is None else (self.rewrite, self.record)

    def measured(self, measured: EvaluationSet) -> tuple[EncodedProblem, ...]:
        """Problems of an evaluation set."""
        return self.heldout if measured.source == HOLDOUT else self.others[measured]


def load_data(
    spec: Spec, tokenizer: PreTrainedTokenizerBase, model_limit: int, *, rewritten: Path | None = None
) -> RunData:
    """Read, split and encode everything the run needs; equal on all ranks.

    `rewritten` is the folder with the teacher's rewrites; without it a spec that has `rewrite` gives no training
    problems, as where a model is only measured. SFT leaves out traces that fit no canvas with their end token.

    Raises InvalidDataError when more than half of the traces do not fit, InvalidRunError when the traces are to be
    rewritten and the folder holds no finished result for them, and what the readers raise.
    """
    began = time.time()
    split = load_split(spec.dataset, spec.prompt, seed=spec.seed)
    length = spec.length if isinstance(spec, LengthAlignedSFTSpec) else None

    def encoded(
        problems: list[Problem], *, traces: bool, source: str = spec.dataset.source
    ) -> tuple[list[EncodedProblem], int, int]:
        kept, report = encode_all(
            problems,
            tokenizer,
            spec.prompt,
            spec.dataset.model_copy(update={"source": source}),
            completion_length=spec.longest_canvas if traces else spec.completion_length,
            model_limit=model_limit,
            long_traces="Refuse" if traces and length is None else "Count",
        )
        return kept, report.dropped_overlong, report.truncated_traces

    problems, rewrite = _training_problems(spec, split.train, rewritten)
    train, dropped, overlong = encoded(problems, traces=True) if problems else ([], 0, 0)
    reasons = Counter(split.left_out)
    reasons.update({OVERLONG: dropped, "duplicate of a held-out prompt": split.removed_duplicates})
    reasons.update({} if rewrite is None else rewrite.dropped)
    if length is not None and problems:
        train, reasons[f"trace longer than {length.longest_field}"] = _fitting(train, length, spec.dataset.source)
        overlong = 0
    heldout, reasons["overlong held-out prompt"], _ = encoded(split.holdout, traces=False)
    others: dict[EvaluationSet, tuple[EncodedProblem, ...]] = {}
    unmeasured: dict[str, dict[str, int]] = {}
    for measured, read in load_evaluation(
        spec.evaluation, spec.dataset, spec.prompt, seed=spec.seed, holdout=split.holdout
    ):
        if measured.source != HOLDOUT:
            kept, overlong_prompts, _ = encoded(read.problems, traces=False, source=measured.source)
            others[measured] = tuple(kept)
            unmeasured[measured.label] = _counted({**read.left_out, OVERLONG: overlong_prompts})
    record = DataRecord(
        problems=len(train),
        heldout=len(heldout),
        rewritten=0 if rewrite is None else len(train),
        dropped=_counted(reasons),
        unmeasured={label: counts for label, counts in unmeasured.items() if counts},
        overlong_traces=overlong,
        trace_lengths=dict(Counter(len(e.trace_ids) + 1 for e in train)),
        target_length=spec.completion_length,
        context_length=spec.longest_canvas if spec.longest_canvas > spec.completion_length else None,
        time=Time(at=time.time(), seconds=time.time() - began),
    )
    return RunData(tuple(train), tuple(heldout), others, record, rewrite)


def _counted(reasons: Mapping[str, int]) -> dict[str, int]:
    return {reason: count for reason, count in sorted(reasons.items()) if count}


def _fitting(train: list[EncodedProblem], length: LengthSpec, source: str) -> tuple[list[EncodedProblem], int]:
    """Problems whose trace and end token fit a canvas, and how many do not.

    Raises InvalidDataError when fewer than half do.
    """
    fitting = [e for e in train if length.canvas(len(e.trace_ids)) is not None]
    dropped = len(train) - len(fitting)
    if 2 * dropped > len(train):
        longest = max(len(e.trace_ids) for e in train) + 1
        raise InvalidDataError(
            f"{source}: {dropped} of {len(train)} traces with their end token are longer than {length.longest_field} "
            f"{length.longest} (longest {longest}); raise it, or have a teacher shorten them (rewrite)"
        )
    return fitting, dropped


def require_rewritten(document: Document, rewritten: Path) -> None:
    """Raise InvalidRunError when a document's traces are to be rewritten and the folder holds no finished result."""
    if wants_rewrite(document.spec) and not (rewritten / REWRITE_RESULT_FILE).is_file():
        raise _not_rewritten(rewritten)


def wants_rewrite(spec: Spec) -> bool:
    """Whether the training traces are to be rewritten before training."""
    return isinstance(spec, LengthAlignedSFTSpec) and spec.rewrite is not None


def _training_problems(
    spec: Spec, originals: list[Problem], rewritten: Path | None
) -> tuple[list[Problem], RewriteRecord | None]:
    if not isinstance(spec, LengthAlignedSFTSpec) or spec.rewrite is None:
        return originals, None
    if rewritten is None:
        return [], None
    result = read_result(rewritten, inputs_hash(originals, spec))
    if result is None:
        raise _not_rewritten(rewritten)
    return kept_problems(rewritten), result.record


def _not_rewritten(rewritten: Path) -> InvalidRunError:
    return InvalidRunError(
        f"{rewritten} holds no finished rewrite of these traces; run `igpo rewrite -f` with this manifest first, or "
        "`igpo run`, which does so itself"
    )
