"""IGPOTraining: reinforcement learning with inpainted rescue of all-wrong groups."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from igpo_trainer.spec.base import Fraction, NonNegativeFloat, PositiveInt, SpecModel
from igpo_trainer.spec.run import RunSpec
from igpo_trainer.spec.sampling import SamplingSpec


class ChunkTokens(SpecModel):
    """Bounds of a hint chunk's length, s_min and s_max in the paper."""

    min: int = Field(default=5, ge=1, le=1024, description="Shortest chunk, in tokens.")
    max: int = Field(default=10, ge=1, le=1024, description="Longest chunk, in tokens.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}; swap them")
        return self


class InjectionRatio(SpecModel):
    """Bounds of the share of chunks shown, η_low and η_high in the paper."""

    min: Fraction = Field(default=0.2, description="Smallest share η of the trace's chunks.")
    max: Fraction = Field(default=0.6, description="Largest share η of the trace's chunks.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}; swap them")
        return self


class HintsSpec(SpecModel):
    """What an all-wrong group is shown of the reference trace, and how much of it may carry gradient."""

    chunk_tokens: ChunkTokens = Field(default_factory=ChunkTokens, description="Chunk length, uniform in these bounds.")
    injection_ratio: InjectionRatio = Field(
        default_factory=InjectionRatio, description="Share η of chunks shown, drawn anew for every rollout."
    )
    max_replaced_ratio: Fraction = Field(
        default=0.5, description="Share λ of a group: at most ⌊λG⌋ wrong rollouts are replaced."
    )
    entropy_keep_ratio: Fraction = Field(
        default=0.2, description="Share τ of hint positions, the most uncertain ones, that carry gradient."
    )
    exclude_answer: Literal["Anywhere", "Statement"] = Field(
        default="Anywhere",
        description="What never becomes a hint. Anywhere: every occurrence of the answer's value. "
        "Statement: the final answer statement only, the paper's narrower reading.",
    )


class ClipRange(SpecModel):
    """Trust region of the importance ratio: [1 − low, 1 + high]."""

    low: Fraction = Field(default=0.2, description="Distance ε below a ratio of 1, a number without unit.")
    high: NonNegativeFloat = Field(default=0.2, description="Distance ε above a ratio of 1, a number without unit.")


class ObjectiveSpec(SpecModel):
    """The policy objective (paper Eq. 3 and 5)."""

    inner_updates: int = Field(default=4, ge=1, le=64, description="Number μ of optimizer updates per rollout batch.")
    ratio: Literal["Sequence", "Token"] = Field(
        default="Sequence", description="Importance ratio of a whole completion (length-normalised) or of each token."
    )
    clip: ClipRange = Field(default_factory=ClipRange, description="Trust region of the ratio.")
    kl_coefficient: NonNegativeFloat = Field(default=0.01, description="Weight β of the k3 KL to the start policy.")
    log_probs: Literal["MeanField", "RandomMask", "ELBO"] = Field(
        default="MeanField",
        description="Estimator of log π(o|q). MeanField: one step from a fully masked canvas, shared by the group. "
        "RandomMask: random masks per completion. ELBO: importance-weighted random masks.",
    )
    mask_samples: int = Field(
        default=2, ge=1, le=64, description="Number of masks per completion for RandomMask and ELBO."
    )
    advantage: Literal["Centred", "Standardised"] = Field(
        default="Centred", description="Reward minus group mean; Standardised also divides by the group deviation."
    )
    normalization: Literal["SequenceMean", "TokenMean"] = Field(
        default="SequenceMean", description="SequenceMean: each completion weighs the same. TokenMean: each token does."
    )


class RewardsSpec(SpecModel):
    """Weights of the reward parts; a completion's reward is their weighted sum."""

    correctness: NonNegativeFloat = Field(default=1.0, description="Weight of a right final answer (0 or 1).")
    format: NonNegativeFloat = Field(default=0.0, description="Weight of the format reward (0 to 1).")
    custom: dict[Annotated[str, Field(min_length=1, max_length=256)], float] = Field(
        default_factory=dict,
        max_length=16,
        description="Weight of further rewards by entry point name (group igpo.rewards) or module:function.",
    )


class JudgeSpec(SpecModel):
    """How answers are verified."""

    deadline_seconds: float = Field(
        default=10.0, gt=0.0, le=600.0, description="Longest time for one verdict, in seconds."
    )
    processes: Literal["Auto"] | PositiveInt = Field(
        default="Auto", description="Number of verifier processes per trainer process. Auto: half the cores, 1 to 8."
    )


class IGPOTrainingSpec(RunSpec):
    """spec of kind IGPOTraining."""

    algorithm: Literal["IGPO", "GRPO", "Resample"] = Field(
        default="IGPO",
        description="IGPO: rescue all-wrong groups with hints. GRPO: no rescue. Resample: rescue by fresh samples "
        "without hints (the sample-matched baseline).",
    )
    group_size: int = Field(default=8, ge=2, le=256, description="Number G of completions per prompt.")
    prompts_per_step: int = Field(
        default=16, ge=1, le=65536, description="Number of prompts per cycle, over all processes."
    )
    steps: int = Field(
        default=360,
        ge=1,
        le=1_000_000,
        description="Number of cycles: a rollout batch, then innerUpdates updates each.",
    )
    sampling: SamplingSpec = Field(default_factory=SamplingSpec, description="How rollouts are denoised.")
    hints: HintsSpec = Field(default_factory=HintsSpec, description="Hints for all-wrong groups.")
    objective: ObjectiveSpec = Field(
        default_factory=ObjectiveSpec, description="The policy objective that is optimised."
    )
    rewards: RewardsSpec = Field(
        default_factory=RewardsSpec, description="Weights of the parts of a completion's reward."
    )
    judge: JudgeSpec = Field(default_factory=JudgeSpec, description="How a completion's answer is verified.")

    @model_validator(mode="after")
    def _rl_needs_exploration_and_one_policy(self) -> Self:
        if self.sampling.temperature == 0:
            raise ValueError("sampling.temperature 0 gives G equal rollouts; RL needs a temperature above 0")
        if self.sampling.cfg_scale != 0:
            raise ValueError(
                f"sampling.cfgScale {self.sampling.cfg_scale} samples from another policy than the one "
                "trained; set it to 0"
            )
        if self.model.lora is not None and self.model.lora.dropout != 0:
            raise ValueError(
                f"model.lora.dropout {self.model.lora.dropout} makes the importance ratio random; RL needs 0"
            )
        return self

    @property
    def max_replaced(self) -> int:
        """⌊λG⌋."""
        return int(self.hints.max_replaced_ratio * self.group_size + 1e-9)
