"""A few rollouts of a run as a person reads them: the lines of samples.jsonl."""

from enum import StrEnum

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
