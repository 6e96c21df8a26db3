"""What one RL run measured over its steps, from its journal alone; and between its steps, by tokens."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from arm_runs.measured import Measured, all_wrong, measurements, rollouts

from igpo_trainer.observe.estimates import Estimate, Values, pass_at_k
from igpo_trainer.observe.journal import read_metrics
from igpo_trainer.observe.lengths import mean_length
from igpo_trainer.observe.records import EndRecord, StepRecord
from igpo_trainer.spec.document import Document
from igpo_trainer.spec.igpo import IGPOTrainingSpec


@dataclass(frozen=True)
class Score:
    """A policy on the held-out problems, one value a problem; between two evaluations, their weighted mean."""

    seed: int
    sampled_P: Values
    """Share of right samples at temperature 1."""
    greedy_P: Values
    passed_P: dict[int, Values]
    """Chance of at least one right sample among k, by k."""
    all_wrong_P: Values

    def estimate(self, value_P: Values) -> Estimate:
        """The mean over problems."""
        return Estimate.of(value_P, self.seed)

    @classmethod
    def of(cls, sampled: Measured, greedy: Measured, samples: int, ks: tuple[int, ...]) -> "Score":
        """The score of one evaluation."""
        right_P = np.rint(sampled.score_P * samples)
        passed = {k: pass_at_k(right_P, samples, k) for k in ks}
        return cls(sampled.seed, sampled.score_P, greedy.score_P, passed, all_wrong(sampled.score_P))

    def between(self, other: "Score", share: float) -> "Score":
        """The score `share` of the way to the other's."""

        def mixed(value: Callable[[Score], Values]) -> Values:
            return (1.0 - share) * value(self) + share * value(other)

        return Score(
            self.seed,
            mixed(lambda s: s.sampled_P),
            mixed(lambda s: s.greedy_P),
            {k: mixed(lambda s, k=k: s.passed_P[k]) for k in self.passed_P},  # type: ignore[misc]
            mixed(lambda s: s.all_wrong_P),
        )


@dataclass(frozen=True)
class Course:
    """One finished RL run."""

    arm: str
    scores: dict[int, Score]
    """By finished steps; from 0 to the last."""
    tokens: dict[int, int]
    """Network tokens up to these steps."""
    train_all_wrong: tuple[tuple[int, float], ...]
    """(step, share of the training groups that were all-wrong before rescue)."""
    rescued: int
    attempted: int
    rollouts: int
    lengths: tuple[float, float]
    """Mean tokens of a completion, before rescue, in the first and the last step."""
    seconds: float
    """Of the steps, without evaluations."""
    seconds_evaluating: float

    @property
    def start(self) -> Score:
        """Before the first step."""
        return self.scores[0]

    @property
    def end(self) -> Score:
        """After the last step."""
        return self.scores[max(self.scores)]

    @property
    def all_tokens(self) -> int:
        """Network tokens of the run."""
        return self.tokens[max(self.tokens)]

    def at_tokens(self, tokens: float) -> Score:
        """The score after so many network tokens, linear between the evaluations around it.

        Raises ValueError for more tokens than the run has.
        """
        steps = sorted(self.scores)
        for before, after in pairwise(steps):
            low, high = self.tokens[before], self.tokens[after]
            if low <= tokens <= high:
                return self.scores[before].between(self.scores[after], (tokens - low) / (high - low))
        raise ValueError(f"{tokens} tokens are not within the {self.all_tokens} of {self.arm}")


def read_course(arm: str, document: Document, out: Path, samples: int, ks: tuple[int, ...]) -> Course:
    """Read a finished RL run."""
    spec = document.spec
    assert isinstance(spec, IGPOTrainingSpec)
    records = read_metrics(out / document.kind / document.name)
    steps = [r for r in records if isinstance(r, StepRecord)]
    (end,) = [r for r in records if isinstance(r, EndRecord)]
    problems = spec.dataset.holdout.rows
    sampled = measurements(records, spec.seed, samples=samples, temperature=1.0, problems=problems)
    greedy = measurements(records, spec.seed, samples=1, temperature=0.0, problems=problems)
    assert set(sampled) == set(greedy) >= {0, end.step}, f"{document}: measured at {sorted(sampled)}, {sorted(greedy)}"
    total, by_step = 0, {0: 0}
    for record in steps:
        total += network_tokens(record, spec)
        by_step[record.step] = total
    return Course(
        arm=arm,
        scores={step: Score.of(sampled[step], greedy[step], samples, ks) for step in sorted(sampled)},
        tokens={step: by_step[step] for step in sorted(sampled)},
        train_all_wrong=tuple((r.step, r.groups_initial.all_wrong_ratio or 0.0) for r in steps),
        rescued=sum(r.rescue.rescued for r in steps),
        attempted=sum(r.rescue.attempted for r in steps),
        rollouts=sum(rollouts(r, spec.group_size) for r in steps),
        lengths=(mean_length(steps[0].completion_lengths) or 0.0, mean_length(steps[-1].completion_lengths) or 0.0),
        seconds=sum(r.time.seconds for r in steps),
        seconds_evaluating=sum(r.time.seconds for r in records if r.event == "evaluation"),
    )


def network_tokens(record: StepRecord, spec: IGPOTrainingSpec) -> int:
    """Prompt and canvas tokens of every completion that a step samples, and of every row that its updates train on.

    A completion counts once, not once a denoising step. A group trains on one row in each update: the mean-field
    log-probabilities of all its completions come from one masked canvas.
    """
    sampled = rollouts(record, spec.group_size)
    canvas = spec.completion_length
    prompt = record.tokens.prompt / sampled
    trained = record.updates * record.groups_initial.total
    return round(record.tokens.prompt + sampled * canvas + trained * (prompt + canvas))
