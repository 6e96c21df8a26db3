"""How many rows fit in one forward, from the memory at hand. Changes speed and memory, never a result."""

from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Literal, Self

import torch
from pydantic import TypeAdapter, ValidationError

from igpo_trainer.models.denoiser import Denoiser
from igpo_trainer.spec.errors import InvalidRunError
from igpo_trainer.spec.model import BatchingSpec

BATCHING_FILE = "batching.json"

CPU_BUDGET_BYTES = 2 * 2**30
GPU_SHARE = 0.4
"""Share of the free GPU memory that activations may take; the rest is for gradients, Adam state and fragmentation."""
MOST_ROWS = {"cpu": 64, "cuda": 512}
"""More rows than this gain nothing: on a CPU they leave its caches, on a GPU the kernels are full."""


@dataclass(frozen=True, slots=True)
class BatchSizes:
    """What one process takes at once. Stored in checkpoints: a resumed run keeps the sizes it began with."""

    rollout_rows: int
    """Canvases in one forward of the sampler."""
    update_rows: int
    """Groups (RL) or traces (SFT) in one forward and backward pass."""
    context_rows: int = 1
    """Traces in one such pass on the longer canvas of length.originals: Context; 1 where none is trained there."""

    @classmethod
    def choose(
        cls,
        spec: BatchingSpec,
        denoiser: Denoiser,
        positions: int,
        block_length: int,
        *,
        context_positions: int | None = None,
        recompute: bool,
        kept_canvases: int = 0,
    ) -> Self:
        """As the manifest says; Auto by the memory at hand for rows of `positions` tokens.

        `context_positions` is the length of rows on the longer canvas; None where none is trained there.
        `kept_canvases` is SamplingSpec's.
        """
        context = 1
        if context_positions is not None:
            context = update_rows(spec.update_groups, denoiser, context_positions, recompute=recompute)
        return cls(
            rollout_rows(spec.rollout_rows, denoiser, positions, block_length, kept_canvases),
            update_rows(spec.update_groups, denoiser, positions, recompute=recompute),
            context,
        )

    def kept(self, spec: BatchingSpec, checkpoint: Path | None) -> Self:
        """These sizes, with those of the checkpoint where the manifest says Auto."""
        path = None if checkpoint is None else checkpoint / BATCHING_FILE
        if path is None or not path.exists():
            return self
        try:
            stored = TypeAdapter(BatchSizes).validate_json(path.read_bytes())
        except ValidationError as error:
            raise InvalidRunError(
                f"{path} is damaged: it does not hold batch sizes; remove the folder to resume from an earlier "
                "checkpoint, or restore the file"
            ) from error
        updates = stored if spec.update_groups == "Auto" else self
        return type(self)(
            stored.rollout_rows if spec.rollout_rows == "Auto" else self.rollout_rows,
            updates.update_rows,
            updates.context_rows,
        )

    @classmethod
    def least(cls, everywhere: Sequence[Self]) -> Self:
        """What every one of some processes has room for."""
        return cls(*(min(column) for column in zip(*map(astuple, everywhere), strict=True)))

    def save(self, folder: Path) -> None:
        """Write the sizes into a checkpoint folder."""
        (folder / BATCHING_FILE).write_bytes(TypeAdapter(dict[str, int]).dump_json(asdict(self)))


def rollout_rows(
    asked: Literal["Auto"] | int, denoiser: Denoiser, positions: int, block_length: int, kept_canvases: int = 0
) -> int:
    """Canvases per forward without gradient: activations of one layer, and the active block's logits.

    With a cache also the keys and values that all layers keep of `kept_canvases` canvases a row.
    """
    if asked != "Auto":
        return asked
    config = denoiser.causal_lm.config
    activations = positions * (8 * config.hidden_size + 3 * config.intermediate_size) * 4
    scores = config.num_attention_heads * positions * positions * 4
    logits = 4 * block_length * config.vocab_size * 4
    states = 2 * config.num_key_value_heads * (config.hidden_size // config.num_attention_heads) * positions * 4
    kept = kept_canvases * config.num_hidden_layers * states
    return _rows(denoiser, activations + scores + logits + kept)


def update_rows(asked: Literal["Auto"] | int, denoiser: Denoiser, positions: int, *, recompute: bool) -> int:
    """Rows per forward and backward: activations of every layer, or one set per layer under recomputation."""
    if asked != "Auto":
        return asked
    config = denoiser.causal_lm.config
    per_layer = positions * (12 * config.hidden_size + 5 * config.intermediate_size) * 4
    per_layer += 2 * config.num_attention_heads * positions * positions * 4
    kept = positions * config.hidden_size * 4 if recompute else per_layer
    return _rows(denoiser, config.num_hidden_layers * kept + per_layer)


def _rows(denoiser: Denoiser, bytes_per_row: int) -> int:
    device = denoiser.banned_N.device
    budget = CPU_BUDGET_BYTES
    if device.type == "cuda":
        budget = int(torch.cuda.mem_get_info(device)[0] * GPU_SHARE)
    return max(1, min(MOST_ROWS.get(device.type, MOST_ROWS["cuda"]), budget // bytes_per_row))
