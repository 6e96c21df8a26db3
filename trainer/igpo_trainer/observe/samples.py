"""A few rollouts of a run as a person reads them: the lines of samples.jsonl."""

from collections.abc import Sequence
from enum import StrEnum
from itertools import groupby

from pydantic import Field, TypeAdapter

from igpo_trainer.observe.records import Measure, Record


class TextKind(StrEnum):
    """Where a piece of a canvas came from."""

    GENERATED = "generated"
    REPLACED = "replaced"
    HINT = "hint"
    FILTERED_HINT = "filtered_hint"


class Piece(Record):
    """Neighbouring tokens of one origin, decoded together."""

    text: str
    kind: TextKind


class SampleRecord(Record):
    """One rollout as a person reads it; a line of samples.jsonl."""

    step: int
    problem: str = Field(description="Key of the problem.")
    sample: int = Field(description="Index in the group.")
    prompt: str
    reference: str = Field(description="Reference trace.")
    answer: str = Field(description="Reference answer.")
    difficulty: str = ""
    pieces: tuple[Piece, ...] = Field(
        description="The canvas up to the end token. generated: the policy's own rollout. replaced: what the policy "
        "wrote around hints in a completion that took a wrong rollout's place. hint, filtered_hint: shown to it, with "
        "and without gradient."
    )
    reward: Measure
    verdict: str = Field(description="right, wrong or unjudged.")
    original: str | None = Field(default=None, description="The wrong rollout that was replaced.")


SAMPLES: TypeAdapter[SampleRecord] = TypeAdapter(SampleRecord)


def pick_samples(
    samples: Sequence[SampleRecord], steps: int = 5, per_step: int = 6
) -> list[tuple[int, list[SampleRecord]]]:
    """Choose what a report shows: the first and last step with samples, some between, replaced completions first."""
    by_step = {step: list(group) for step, group in groupby(sorted(samples, key=lambda s: s.step), lambda s: s.step)}
    logged = list(by_step)
    if len(logged) > steps:
        logged = [logged[round(i * (len(logged) - 1) / (steps - 1))] for i in range(steps)]
    return [(step, sorted(by_step[step], key=lambda s: s.original is None)[:per_step]) for step in logged]
