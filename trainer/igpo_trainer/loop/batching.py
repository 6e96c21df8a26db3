"""How many rows fit in one forward, from the memory at hand. Changes speed and memory, never a result."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self, TypeAlias

from pydantic import TypeAdapter, ValidationError

from igpo_trainer.models.denoiser import Denoiser
from igpo_trainer.models.memory import available_bytes
from igpo_trainer.spec.errors import InvalidRunError
from igpo_trainer.spec.model import BatchingSpec

BATCHING_FILE = "batching.json"

CPU_BUDGET_BYTES = 2 * 2**30
"""More than this gains nothing on a CPU."""
MEMORY_SHARE = 0.4
"""Share of the available memory that activations may take; the rest is for gradients, Adam state and fragmentation."""
MOST_ROWS = {"cpu": 64, "cuda": 512}
"""More rows than this gain nothing: on a CPU they leave its caches, on a GPU the kernels are full."""

Asked: TypeAlias = Literal["Auto"] | int


@dataclass(slots=True)
class BatchSizes:
    """What one process takes at once; shared by all who take it, and made smaller where memory runs out.

    Stored in checkpoints: a resumed run keeps the sizes that it began with or came to.
    """

    rollout_rows: int
    """Canvases in one forward of the sampler."""
    update_rows: int
    """Groups (RL) or traces (SFT) in one forward and backward pass."""
    context_rows: int = 1
    """Traces in one such pass on the longer canvas of length.originals: Context; 1 where none is trained there."""
    rollout_asked: Asked = "Auto"
    """batching.rolloutRows of the manifest, which the first of the sizes above was made for."""
    update_asked: Asked = "Auto"
    """The same for batching.updateGroups and the other two."""

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
            spec.rollout_rows,
            spec.update_groups,
        )

    def kept(self, spec: BatchingSpec, checkpoint: Path | None) -> Self:
        """These sizes, with those of the checkpoint where the manifest says Auto, or still says what it said then."""
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
        rollouts = stored if spec.rollout_rows in ("Auto", stored.rollout_asked) else self
        updates = stored if spec.update_groups in ("Auto", stored.update_asked) else self
        return replace(
            self,
            rollout_rows=rollouts.rollout_rows,
            update_rows=updates.update_rows,
            context_rows=updates.context_rows,
        )

    @classmethod
    def least(cls, everywhere: Sequence[Self]) -> Self:
        """What every one of some processes has room for."""
        return replace(
            everywhere[0],
            rollout_rows=min(sizes.rollout_rows for sizes in everywhere),
            update_rows=min(sizes.update_rows for sizes in everywhere),
            context_rows=min(sizes.context_rows for sizes in everywhere),
        )

    def halve_updates(self) -> bool:
        """Take half as many groups or traces at once; False when each is 1 already."""
        before = self.update_rows, self.context_rows
        self.update_rows, self.context_rows = (max(1, rows // 2) for rows in before)
        return (self.update_rows, self.context_rows) != before

    def save(self, folder: Path) -> None:
        """Write the sizes into a checkpoint folder."""
        (folder / BATCHING_FILE).write_bytes(TypeAdapter(BatchSizes).dump_json(self))


def rollout_rows(asked: Asked, denoiser: Denoiser, positions: int, block_length: int, kept_canvases: int = 0) -> int:
    """Canvases per forward without gradient: activations of one layer, and the active block's logits.

    With a cache also the keys and values that all layers keep of `kept_canvases` canvases a row.
    """
    if asked != "Auto":
        return asked
    config = denoiser.causal_lm.config
    activations = positions * (8 * config.hidden_size + 3 * config.intermediate_size) * 4
    scores = config.num_attention_heads * positions * positions * 4
    logits = 4 * block_length * config.vocab_size * 4
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    states = 2 * config.num_key_value_heads * head * positions * 4
    kept = kept_canvases * config.num_hidden_layers * states
    return _rows(denoiser, activations + scores + logits + kept)


def update_rows(asked: Asked, denoiser: Denoiser, positions: int, *, recompute: bool) -> int:
    """Rows per forward and backward: activations of every layer, or one set per layer under recomputation."""
    if asked != "Auto":
        return asked
    return _rows(denoiser, _update_bytes(denoiser, positions, recompute=recompute))


def needs_recomputation(denoiser: Denoiser, positions: int, rows: int = 1) -> bool:
    """Whether the activations of `rows` rows of `positions` tokens are more than memory has room for.

    Making them again in the backward pass costs a third more time, so it is left until it is needed.
    """
    return rows * _update_bytes(denoiser, positions, recompute=False) > _budget(denoiser)


def _update_bytes(denoiser: Denoiser, positions: int, *, recompute: bool) -> int:
    config = denoiser.causal_lm.config
    per_layer = positions * (12 * config.hidden_size + 5 * config.intermediate_size) * 4
    per_layer += 2 * config.num_attention_heads * positions * positions * 4
    kept = positions * config.hidden_size * 4 if recompute else per_layer
    total: int = config.num_hidden_layers * kept + per_layer
    return total


def _rows(denoiser: Denoiser, bytes_per_row: int) -> int:
    most = MOST_ROWS.get(denoiser.device.type, MOST_ROWS["cuda"])
    return max(1, min(most, _budget(denoiser) // bytes_per_row))


def _budget(denoiser: Denoiser) -> int:
    share = int(available_bytes(denoiser.device) * MEMORY_SHARE)
    return share if denoiser.device.type == "cuda" else min(CPU_BUDGET_BYTES, share)
