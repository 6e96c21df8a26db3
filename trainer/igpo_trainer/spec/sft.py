"""LengthAlignedSFT: rewrite long traces, keep what verifies and fits, fine-tune at the RL canvas length."""

from typing import Literal, Self

from pydantic import Field, model_validator

from igpo_trainer.spec.base import NonNegativeFloat, PositiveInt, SpecModel
from igpo_trainer.spec.contract import CONFIG_KEY, DNS_SUBDOMAIN
from igpo_trainer.spec.run import RunSpec
from igpo_trainer.spec.sampling import SamplingSpec


class SecretKeyRef(SpecModel):
    """One key of a Secret in the run's namespace."""

    name: str = Field(min_length=1, max_length=253, pattern=DNS_SUBDOMAIN, description="Name of the Secret object.")
    key: str = Field(min_length=1, max_length=253, pattern=CONFIG_KEY, description="Key in the Secret's data.")


class Teacher(SpecModel):
    """An OpenAI-compatible endpoint that rewrites traces."""

    base_url: str = Field(min_length=1, max_length=2048, description="Base URL of the API, up to and with /v1.")
    model: str = Field(min_length=1, max_length=256, description="Model name sent to the endpoint.")
    api_key_secret_ref: SecretKeyRef | None = Field(
        default=None,
        description="Secret with the API key; at a desk the variable IGPO_TEACHER_API_KEY is read. "
        "Absent: the endpoint needs no key.",
    )


class RewriteSpec(SpecModel):
    """How traces are rewritten before SFT."""

    teacher: Teacher = Field(description="The endpoint that rewrites traces.")
    concurrency: int = Field(default=16, ge=1, le=1024, description="Number of requests in flight.")
    max_tokens: int = Field(default=1024, ge=1, le=131072, description="Longest rewrite, in the teacher's tokens.")
    temperature: float | None = Field(
        default=None, ge=0.0, le=2.0, description="Sampling temperature of the teacher; absent: the endpoint's own."
    )
    prompt: str | None = Field(
        default=None,
        min_length=1,
        max_length=16384,
        description="Instruction to the teacher, before problem, trace and answer; {target} stands for length.target. "
        "Absent: the shipped one.",
    )
    attempts: int = Field(
        default=6, ge=1, le=100, description="Number of requests for one trace at most; waits between them double."
    )
    timeout_seconds: int = Field(default=300, ge=1, le=3600, description="Longest wait for one answer, in seconds.")
    token_budget: int | None = Field(
        default=None,
        ge=1,
        le=10**12,
        description="The teacher's tokens, read and written, that the run may cost over all its attempts; "
        "absent: no limit.",
    )


class LengthSpec(SpecModel):
    """The length that SFT is aligned to."""

    target: int = Field(default=256, ge=1, le=32768, description="Canvas length, in tokens: that of RL rollouts.")
    originals: Literal["Drop", "Context"] = Field(
        default="Drop",
        description="Traces longer than target. Drop: left out and counted. "
        "Context: trained on a canvas of contextTokens, an ablation of rewrite that excludes it.",
    )
    context_tokens: int = Field(
        default=4096,
        ge=1,
        le=131072,
        description="Canvas of traces longer than target under originals: Context, in tokens; at least target.",
    )

    @model_validator(mode="after")
    def _the_context_is_no_shorter_than_the_target(self) -> Self:
        if self.originals == "Context" and self.context_tokens < self.target:
            raise ValueError(
                f"contextTokens {self.context_tokens} is below target {self.target}; raise it to {self.target} or more"
            )
        return self

    @property
    def longest(self) -> int:
        """Longest canvas of training, in tokens."""
        return self.context_tokens if self.originals == "Context" else self.target

    @property
    def longest_field(self) -> str:
        """The field of spec that says so."""
        return "length.contextTokens" if self.originals == "Context" else "length.target"

    def canvas(self, trace_tokens: int) -> int | None:
        """Canvas of a trace of so many tokens, which must leave room for its end token; None: it is left out."""
        return next((length for length in (self.target, self.longest) if trace_tokens < length), None)


class TrainingSpec(SpecModel):
    """How long SFT runs: exactly one of epochs and steps."""

    epochs: float | None = Field(
        default=None, gt=0.0, le=10_000.0, description="Duration in epochs: passes over the kept traces."
    )
    steps: int | None = Field(default=None, ge=1, le=10_000_000, description="Duration in steps: optimizer updates.")
    batch_size: PositiveInt = Field(default=32, description="Number of traces per update, over all processes.")

    @model_validator(mode="after")
    def _one_duration(self) -> Self:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("exactly one of epochs and steps must be set")
        return self


class EvaluationSampling(SamplingSpec):
    """Sampling where only evaluation samples: greedy unless said otherwise."""

    temperature: NonNegativeFloat = Field(
        default=0.0, description="Temperature T of the Gumbel noise, in units of the logits; 0 is greedy."
    )


class LengthAlignedSFTSpec(RunSpec):
    """spec of kind LengthAlignedSFT."""

    rewrite: RewriteSpec | None = Field(
        default=None, description="Rewriting of long traces by a teacher. Absent: the traces are used as they are."
    )
    length: LengthSpec = Field(default_factory=LengthSpec, description="The canvas length that SFT is aligned to.")
    training: TrainingSpec = Field(description="Duration of training and its batch.")
    sampling: EvaluationSampling = Field(
        default_factory=EvaluationSampling, description="How evaluation denoises: as the RL run that follows does."
    )

    @model_validator(mode="after")
    def _canvas_is_the_target(self) -> Self:
        if self.sampling.completion_length != self.length.target:
            raise ValueError(
                f"sampling.completionLength {self.sampling.completion_length} differs from length.target "
                f"{self.length.target}; SFT, RL and evaluation share one canvas length"
            )
        return self

    @model_validator(mode="after")
    def _originals_are_not_rewritten(self) -> Self:
        if self.rewrite is not None and self.length.originals == "Context":
            raise ValueError(
                "length.originals Context trains the traces as they are, rewrite replaces them; "
                "set it to Drop or remove rewrite"
            )
        return self

    @property
    def longest_canvas(self) -> int:
        """Longest canvas that any part of the run lays out, in tokens."""
        return self.length.longest if self.length.originals == "Context" else self.completion_length
