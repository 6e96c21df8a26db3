"""Which network is trained, where its weights start and how it computes."""

from typing import Final, Literal, Self

from pydantic import Field, model_validator

from igpo_trainer.spec.base import PositiveFloat, PositiveInt, SpecModel
from igpo_trainer.spec.contract import DNS_LABEL, MAX_NAME_LENGTH

GGUF_SUFFIX: Final = ".gguf"
"""How the name of a model source ends that is a file of llama.cpp's format."""

RunKind = Literal["LengthAlignedSFT", "IGPOTraining"]
"""Kinds of run a manifest can hold."""


class CheckpointSource(SpecModel):
    """Another run whose result this run starts from."""

    kind: RunKind = Field(
        default="LengthAlignedSFT", description="Kind of the source run, in the same namespace or runs folder."
    )
    name: str = Field(
        min_length=1,
        max_length=MAX_NAME_LENGTH,
        pattern=DNS_LABEL,
        description="metadata.name of the source run, a DNS label.",
    )
    checkpoint: Literal["Best", "Final"] = Field(
        default="Best", description="Best: highest held-out accuracy. Final: the state after the last step."
    )


class ScratchModel(SpecModel):
    """Sizes of a small, randomly initialised Llama with the tokenizer that ships with igpo."""

    hidden_size: int = Field(default=128, ge=8, le=4096, description="Width of the residual stream, in features.")
    layers: int = Field(default=3, ge=1, le=64, description="Number of transformer blocks.")
    heads: int = Field(default=4, ge=1, le=64, description="Attention heads; must divide hiddenSize.")
    intermediate_size: int = Field(default=384, ge=8, le=16384, description="Width of the MLP, in features.")
    max_positions: int = Field(default=128, ge=8, le=32768, description="Longest prompt plus canvas, in tokens.")
    number_init: Literal["Fourier", "Random"] = Field(
        default="Fourier",
        description=(
            "Start of the number tokens' embeddings. Fourier: periodic features of the value are added, which lets "
            "a small model learn arithmetic in minutes. Random: like every other token."
        ),
    )

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        if self.hidden_size % self.heads or (self.hidden_size // self.heads) % 2:
            raise ValueError(
                f"hiddenSize {self.hidden_size} over heads {self.heads} is not an even head width; "
                "choose sizes where hiddenSize / heads is an even whole number"
            )
        return self


class LoraSpec(SpecModel):
    """Low-rank adapters on all seven linear layers of every block; without it all weights are trained."""

    rank: int = Field(default=128, ge=1, le=1024, description="Rank r of the adapters, a number of features.")
    alpha: PositiveFloat = Field(
        default=64.0, description="Scale without unit: the adapter is multiplied by alpha / rank."
    )
    dropout: float = Field(
        default=0.0,
        ge=0.0,
        lt=1.0,
        description="Share of the adapter's inputs dropped at random. SFT only: RL refuses it.",
    )


class ModelSpec(SpecModel):
    """The policy network: exactly one of source, scratch and from."""

    source: str | None = Field(
        default=None,
        min_length=1,
        max_length=512,
        description="Hub id or folder of a LLaDA or Llama-family model, or a .gguf file of one.",
    )
    revision: str | None = Field(
        default=None, min_length=1, max_length=128, description="Hub commit, tag or branch. Absent: main."
    )
    adapt: Literal["MaskedDiffusion"] | None = Field(
        default=None,
        description="MaskedDiffusion: turn a causal Llama-family model into a diffusion model (mask token added).",
    )
    scratch: ScratchModel | None = Field(default=None, description="A small new model, for demos and tests.")
    from_: CheckpointSource | None = Field(
        default=None, alias="from", description="Start from another run's checkpoint; this run waits for it."
    )
    precision: Literal["BF16", "FP32"] = Field(
        default="BF16",
        description="Compute precision and that of a frozen base; trained weights and Adam state are always fp32.",
    )
    attention: Literal["SDPA", "Eager", "Flex"] = Field(
        default="SDPA", description="Attention kernel; every one is bidirectional here."
    )
    gradient_checkpointing: Literal["Auto", "Always", "Never"] = Field(
        default="Auto",
        description="Recompute activations in the backward pass. Auto: where those of one row do not fit in memory.",
    )
    lora: LoraSpec | None = Field(default=None, description="Adapters; absent means full fine-tuning.")

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        given = [
            name
            for name, value in (("source", self.source), ("scratch", self.scratch), ("from", self.from_))
            if value is not None
        ]
        if len(given) != 1:
            raise ValueError(f"exactly one of source, scratch and from must be set; found {', '.join(given) or 'none'}")
        if self.source is None and (self.revision is not None or self.adapt is not None):
            raise ValueError("revision and adapt belong to source; remove them or set model.source")
        return self

    @model_validator(mode="after")
    def _a_gguf_file_is_adapted(self) -> Self:
        if self.source is not None and self.source.endswith(GGUF_SUFFIX) and self.adapt is None:
            raise ValueError(f"source {self.source} holds a causal model; set adapt to MaskedDiffusion")
        return self


class BatchingSpec(SpecModel):
    """How much work one process takes at once. Changes speed and memory, never the result."""

    rollout_rows: Literal["Auto"] | PositiveInt = Field(
        default="Auto",
        description=(
            "Number of rows denoised together in one process. Auto: from the memory at hand. Halved when it runs out."
        ),
    )
    update_groups: Literal["Auto"] | PositiveInt = Field(
        default="Auto", description="Number of prompts whose groups share one forward and backward pass in one process."
    )
