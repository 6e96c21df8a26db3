"""Evaluations of a run, from its journal, problem by problem."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from igpo_trainer.observe.estimates import Estimate, Values
from igpo_trainer.observe.records import EvaluationRecord, JournalRecord, StepRecord


@dataclass(frozen=True)
class Measured:
    """One evaluation: the share of right samples of every problem, in one order for all runs of a seed."""

    step: int
    seed: int
    score_P: Values

    @property
    def accuracy(self) -> Estimate:
        """Mean share of right samples."""
        return Estimate.of(self.score_P, self.seed)

    @property
    def all_wrong(self) -> Estimate:
        """Share of problems without a right sample."""
        return Estimate.of(all_wrong(self.score_P), self.seed)


def all_wrong(score_P: Values) -> Values:
    """1 for each problem without a right sample, 0 for the others."""
    wrong_P: Values = (score_P == 0).astype(np.float64)
    return wrong_P


def measurements(
    records: Sequence[JournalRecord], seed: int, *, samples: int, temperature: float, problems: int
) -> dict[int, Measured]:
    """The evaluations of one kind by step; every step has at most one, and each is of all `problems`."""
    found: dict[int, Measured] = {}
    for record in records:
        if isinstance(record, EvaluationRecord) and (record.samples, record.temperature) == (samples, temperature):
            assert record.step not in found, f"step {record.step} was measured twice"
            assert len(record.right) == problems, f"step {record.step}: {len(record.right)} problems were measured"
            found[record.step] = Measured(record.step, seed, np.array(record.right) / samples)
    return found


def rollouts(record: StepRecord, group_size: int) -> int:
    """Completions sampled in a step, rescue included."""
    return record.completions_initial.total + record.rescue.attempted * group_size
