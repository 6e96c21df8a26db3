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
    cache: Literal["None"] = Field(default="None", description="None: every step computes the whole canvas, exactly.")
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

    @property
    def blocks(self) -> int:
        """Number of blocks on the canvas."""
        return self.completion_length // self.block_length

    @property
    def steps_per_block(self) -> int:
        """Denoising steps spent on one block."""
        return self.steps // self.blocks
