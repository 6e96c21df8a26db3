"""How a completion is denoised from masks."""

from typing import Literal, Self

from pydantic import Field, model_validator

from igpo_trainer.spec.base import NonNegativeFloat, PositiveInt, SpecModel


class SamplingSpec(SpecModel):
    """Semi-autoregressive denoising: blocks left to right, any order within a block."""

    completion_length: int = Field(default=256, ge=1, le=32768, description="Canvas length L, in tokens.")
    steps: PositiveInt = Field(
        default=128, description="Denoising steps for a whole canvas; a multiple of the number of blocks, at most L."
    )
    block_length: PositiveInt = Field(default=32, description="Block length, in tokens; must divide completionLength.")
    temperature: NonNegativeFloat = Field(
        default=1.2, description="Temperature T of the Gumbel noise, in units of the logits; 0 is greedy."
    )
    remasking: Literal["LowConfidence", "Random"] = Field(
        default="LowConfidence", description="Which predictions are kept in a step: the most confident, or random ones."
    )
    cache: Literal["None", "Prefix", "Dual"] = Field(
        default="None",
        description="None: every step computes the whole canvas, exactly. Approximate and faster: only a block's first "
        "step does; its others compute the columns from the block on (Prefix) or the block alone (Dual) and read the "
        "keys and values of all other columns as they were then.",
    )
    confidence_threshold: float | None = Field(
        default=None,
        gt=0.0,
        le=1.0,
        description="Approximate and faster: a step keeps, beyond its quota, every prediction of at least this "
        "probability. Absent: the quota alone. steps = completionLength makes the quota 1.",
    )
    cfg_scale: NonNegativeFloat = Field(
        default=0.0, description="Classifier-free guidance weight; 0 is off. RL refuses any other value."
    )

    @model_validator(mode="after")
    def _blocks_fit(self) -> Self:
        if self.completion_length % self.block_length:
            raise ValueError(
                f"blockLength {self.block_length} does not divide completionLength {self.completion_length}; "
                "choose a divisor"
            )
        blocks = self.completion_length // self.block_length
        if self.steps % blocks or self.steps > self.completion_length:
            raise ValueError(
                f"steps {self.steps} must be a multiple of the {blocks} blocks and at most "
                f"completionLength {self.completion_length}"
            )
        return self

    @model_validator(mode="after")
    def _a_threshold_needs_confidence(self) -> Self:
        if self.confidence_threshold is not None and self.remasking != "LowConfidence":
            raise ValueError(
                f"confidenceThreshold {self.confidence_threshold} has no meaning with remasking {self.remasking}; "
                "remove it or set remasking to LowConfidence"
            )
        return self

    @property
    def kept_canvases(self) -> int:
        """Canvases whose keys and values the cache keeps for one completion; guidance needs a second one."""
        return 0 if self.cache == "None" else 1 + (self.cfg_scale > 0)

    @property
    def blocks(self) -> int:
        """Number of blocks on the canvas."""
        return self.completion_length // self.block_length

    @property
    def steps_per_block(self) -> int:
        """Denoising steps spent on one block."""
        return self.steps // self.blocks
