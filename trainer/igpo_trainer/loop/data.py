"""The encoded problems of a run: trained on, held out, measured."""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from transformers import PreTrainedTokenizerBase

from igpo_trainer.data.encode import encode_all
from igpo_trainer.data.problem import EncodedProblem, Problem
from igpo_trainer.data.readers import load_evaluation, load_split
from igpo_trainer.observe.records import DataRecord, Time
from igpo_trainer.spec.document import Spec
from igpo_trainer.spec.errors import InvalidDataError
from igpo_trainer.spec.run import HOLDOUT, EvaluationSet
from igpo_trainer.spec.sft import LengthAlignedSFTSpec

OVERLONG: Final = "overlong prompt"


@dataclass(frozen=True, slots=True)
class RunData:
    """Problems in token ids."""

    train: tuple[EncodedProblem, ...]
    heldout: tuple[EncodedProblem, ...]
    others: Mapping[EvaluationSet, tuple[EncodedProblem, ...]]
    """Evaluation sets that are not the hold-out."""
    record: DataRecord

    def measured(self, measured: EvaluationSet) -> tuple[EncodedProblem, ...]:
        """Problems of an evaluation set."""
        return self.heldout if measured.source == HOLDOUT else self.others[measured]


def load_data(spec: Spec, tokenizer: PreTrainedTokenizerBase, model_limit: int) -> RunData:
    """Read, split and encode everything the run needs; equal on all ranks.

    SFT leaves out traces that do not fit the canvas with their end token. Raises InvalidDataError when more than half
    of the traces are longer than the canvas, and what the readers raise.
    """
    began = time.time()
    split = load_split(spec.dataset, spec.prompt, seed=spec.seed)
    is_sft = isinstance(spec, LengthAlignedSFTSpec)

    def encoded(
        problems: list[Problem], *, traces: bool, source: str = spec.dataset.source
    ) -> tuple[list[EncodedProblem], int, int]:
        kept, report = encode_all(
            problems,
            tokenizer,
            spec.prompt,
            spec.dataset.model_copy(update={"source": source}),
            completion_length=spec.completion_length,
            model_limit=model_limit,
            long_traces="Refuse" if traces else "Count",
        )
        return kept, report.dropped_overlong, report.truncated_traces

    train, dropped, overlong = encoded(split.train, traces=True)
    reasons = Counter(split.left_out)
    reasons.update({OVERLONG: dropped, "duplicate of a held-out prompt": split.removed_duplicates})
    if is_sft:
        fitting = [e for e in train if len(e.trace_ids) < spec.completion_length]
        reasons["trace longer than length.target"] = len(train) - len(fitting)
        train, overlong = fitting, 0
        if not train:
            raise InvalidDataError(
                f"{spec.dataset.source}: no trace with its end token fits length.target {spec.completion_length}; "
                "raise length.target and sampling.completionLength"
            )
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
        dropped=_counted(reasons),
        unmeasured={label: counts for label, counts in unmeasured.items() if counts},
        overlong_traces=overlong,
        trace_lengths=dict(Counter(len(e.trace_ids) + 1 for e in train)),
        target_length=spec.completion_length,
        time=Time(at=time.time(), seconds=time.time() - began),
    )
    return RunData(tuple(train), tuple(heldout), others, record)


def _counted(reasons: Mapping[str, int]) -> dict[str, int]:
    return {reason: count for reason, count in sorted(reasons.items()) if count}
