"""Where problems, reference traces and answers come from."""

import re
from typing import Final, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from igpo_trainer.spec.base import Fraction, PositiveInt, SpecModel

BUILTIN_WORD_PROBLEMS = "builtin:word-problems"
TRACE_FORMAT: Final = r"^([^{}]|\{\{|\}\}|\{body\}|\{answer\})*$"
"""What prompt.traceFormat may hold: text, doubled braces, and the two names; nothing else that str.format knows."""


RowFormat: TypeAlias = Literal["GSM8K", "MATH", "MetaMathQA", "OpenR1", "AMC", "Minerva"]
"""Schemas of well-known data sets, whose columns need not be named."""
OWN_COLUMNS: Final = "has columns and answers of its own; remove fields and answer, or format"


class FieldNames(SpecModel):
    """Which column of a row holds what."""

    prompt: str = Field(default="question", min_length=1, max_length=128, description="Column of the problem text.")
    trace: str = Field(default="answer", min_length=1, max_length=128, description="Column of the reference trace.")
    answer: str | None = Field(
        default=None,
        min_length=1,
        max_length=128,
        description="Column of the final answer; absent: found in the trace.",
    )
    difficulty: str | None = Field(
        default=None,
        min_length=1,
        max_length=128,
        description="Column of the difficulty, by which accuracy is split; absent: not split.",
    )


class AnswerRule(SpecModel):
    """How the final answer is found in a trace when no column holds it."""

    after: str | None = Field(
        default=None,
        min_length=1,
        max_length=64,
        description="The answer is the text after the last occurrence of this mark, for example ####. "
        "Absent: the content of the last \\boxed{}.",
    )


class Holdout(SpecModel):
    """Problems kept out of training, for choosing the best checkpoint."""

    rows: int = Field(
        default=256, ge=1, le=100_000, description="Number of problems held out, cut from the train split by seed."
    )


class Difficulty(SpecModel):
    """One difficulty of the built-in task."""

    steps: int = Field(ge=1, le=4, description="Number of arithmetic operations in a problem.")
    share: Fraction = Field(description="Relative share of problems of this difficulty.")
    worked_out: Fraction = Field(
        default=1.0, description="Share of traces that show every step; the rest state the answer only."
    )


class WordProblems(SpecModel):
    """Options of builtin:word-problems, a seeded generator of multi-step word problems."""

    rows: int = Field(default=4000, ge=1, le=1_000_000, description="Number of training problems to generate.")
    style: Literal["Concise", "Verbose"] = Field(
        default="Concise", description="Concise: the bare chain of results. Verbose: the same with spoken filler."
    )
    difficulties: tuple[Difficulty, ...] = Field(
        default=tuple(Difficulty(steps=k, share=0.25) for k in (1, 2, 3, 4)),
        min_length=1,
        max_length=4,
        description="Mix of difficulties; shares are relative.",
    )

    @model_validator(mode="after")
    def _difficulties_are_distinct(self) -> Self:
        steps = [d.steps for d in self.difficulties]
        if len(set(steps)) != len(steps):
            raise ValueError(f"difficulties repeats steps {sorted(steps)}; name each number of steps once")
        if sum(d.share for d in self.difficulties) <= 0:
            raise ValueError("difficulties has only shares of 0; give at least one a positive share")
        return self


class DatasetSpec(SpecModel):
    """The problems a run trains on."""

    source: str = Field(
        min_length=1,
        max_length=512,
        description="Hub id, a .jsonl, .json or .parquet file, a folder of those, or builtin:word-problems.",
    )
    name: str | None = Field(default=None, min_length=1, max_length=128, description="Configuration of a hub data set.")
    revision: str | None = Field(
        default=None, min_length=1, max_length=128, description="Hub commit, tag or branch. Absent: main."
    )
    split: str = Field(default="train", min_length=1, max_length=64, description="Split that is trained on.")
    format: RowFormat | None = Field(
        default=None,
        description="Schema of the rows, in place of fields and answer. GSM8K: calculator notes taken out. MATH: also "
        "MATH500. MetaMathQA: its AnsAug rows, each question once. OpenR1: OpenR1-Math-220k, the first generation that "
        "is complete and verified. AMC and Minerva: for evaluation. Absent: that of a well-known hub id, else the "
        "columns of fields.",
    )
    fields: FieldNames = Field(default_factory=FieldNames, description="Names of the columns that are read.")
    answer: AnswerRule = Field(default_factory=AnswerRule, description="How the answer is found in a trace.")
    holdout: Holdout = Field(default_factory=Holdout, description="Problems kept for evaluation.")
    max_prompt_tokens: PositiveInt = Field(default=600, description="Longest prompt, in tokens, template included.")
    overlong: Literal["Drop", "Fail"] = Field(
        default="Drop", description="A prompt beyond maxPromptTokens. Drop: left out and counted. Fail: the run stops."
    )
    word_problems: WordProblems | None = Field(default=None, description="Options of builtin:word-problems.")

    @model_validator(mode="after")
    def _options_match_source(self) -> Self:
        if self.word_problems is not None and self.source != BUILTIN_WORD_PROBLEMS:
            raise ValueError(f"wordProblems belongs to source {BUILTIN_WORD_PROBLEMS}; source is {self.source!r}")
        return self

    @model_validator(mode="after")
    def _format_names_the_columns(self) -> Self:
        if self.format is not None and not self.has_default_columns:
            raise ValueError(f"format {self.format} {OWN_COLUMNS}")
        return self

    @property
    def has_default_columns(self) -> bool:
        """Whether fields and answer are left as they are."""
        return self.fields == FieldNames() and self.answer == AnswerRule()


class PromptSpec(SpecModel):
    """How a problem becomes model input and a reference trace becomes a target."""

    template: Literal["Model", "Plain"] = Field(
        default="Model", description="Model: the tokenizer's chat template. Plain: the text alone."
    )
    system: str = Field(default="", max_length=8192, description="System message; empty: none.")
    instruction: str = Field(default="", max_length=8192, description="Text added to every problem; empty: none.")
    trace_format: str | None = Field(
        default=None,
        min_length=1,
        max_length=2048,
        description="How a trace is written on the canvas: {body} is the trace (without the answer mark of "
        "dataset.answer.after), {answer} the final answer, doubled braces are literal. Absent: the trace, and behind "
        "it \\boxed{} with the answer where the trace has no box.",
    )

    @model_validator(mode="after")
    def _format_fills(self) -> Self:
        if self.trace_format is None:
            return self
        if not re.fullmatch(TRACE_FORMAT, self.trace_format):
            raise ValueError(
                f"traceFormat {self.trace_format!r} cannot be filled; use {{body}} and {{answer}}, "
                "and double every literal brace"
            )
        if "{body}" not in self.trace_format.replace("{{", "").replace("}}", ""):
            raise ValueError(f"traceFormat {self.trace_format!r} has no {{body}}; add it where the trace belongs")
        return self
