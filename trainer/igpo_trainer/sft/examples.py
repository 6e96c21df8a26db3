"""SFT examples: a clean prompt and a canvas of trace, end token and end-token tail."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from igpo_trainer.data.problem import EncodedProblem
from igpo_trainer.diffusion.forward_process import draw_masks, mask_levels
from igpo_trainer.diffusion.noise import NoiseKey
from igpo_trainer.models.tokens import SpecialTokens


@dataclass(frozen=True, slots=True)
class SftBatch:
    """Network input of some masked examples and what must be predicted."""

    ids_BS: Tensor
    attention_BS: Tensor
    rows_M: Tensor
    columns_M: Tensor
    tokens_M1: Tensor
    level_M: Tensor
    """Noise level t of each masked position's row."""

    def to(self, device: torch.device) -> "SftBatch":
        """The same batch on another device."""
        return SftBatch(*(getattr(self, name).to(device) for name in self.__slots__))


def canvas_of(encoded: EncodedProblem, canvas_length: int, eos_id: int) -> list[int]:
    """The L target ids: trace, end token, then end tokens to the end, which teach the model to stop.

    Raises ValueError when trace and end token do not fit; such rows are dropped before.
    """
    tail = canvas_length - len(encoded.trace_ids)
    if tail < 1:
        raise ValueError(
            f"a trace of {len(encoded.trace_ids)} tokens leaves no end token on a canvas of {canvas_length}"
        )
    return [*encoded.trace_ids, *[eos_id] * tail]


def corrupt(
    examples: Sequence[EncodedProblem],
    noise: tuple[Tensor, Tensor],
    canvas_length: int,
    tokens: SpecialTokens,
) -> SftBatch:
    """Mask the canvases with `noise` = (level_B, mask_BL); prompts stay clean, left-padded to one width."""
    level_B, mask_BL = noise
    width = max(len(e.prompt_ids) for e in examples)
    ids_BS = torch.full((len(examples), width + canvas_length), tokens.pad_id)
    attention_BS = torch.ones_like(ids_BS)
    for b, example in enumerate(examples):
        pad = width - len(example.prompt_ids)
        ids_BS[b, pad:width] = torch.tensor(example.prompt_ids)
        ids_BS[b, width:] = torch.tensor(canvas_of(example, canvas_length, tokens.eos_id))
        attention_BS[b, :pad] = 0
    rows_M, offsets_M = mask_BL.nonzero(as_tuple=True)
    columns_M = offsets_M + width
    tokens_M1 = ids_BS[rows_M, columns_M][:, None]
    ids_BS[rows_M, columns_M] = tokens.mask_id
    return SftBatch(ids_BS, attention_BS, rows_M, columns_M, tokens_M1, level_B[rows_M])


def noise_of_step(key: NoiseKey, batch_size: int, canvas_length: int) -> tuple[Tensor, Tensor]:
    """(level_B, mask_BL) of one update's whole batch; every process draws it whole and uses its rows."""
    level_B = mask_levels(key, batch_size)
    return level_B, draw_masks(key, level_B, canvas_length)


def noise_of_rows(
    key: NoiseKey, noise_of_batch: tuple[Tensor, Tensor], rows: Sequence[int], canvas_length: int
) -> tuple[Tensor, Tensor]:
    """(level_R, mask_RL) of R rows of a batch, all of one canvas length: that of the batch's noise, or a longer one."""
    level_B, mask_BL = noise_of_batch
    if canvas_length == mask_BL.shape[1]:
        return level_B[rows], mask_BL[rows]
    return noise_of_long_rows(key, level_B, rows, canvas_length)


def noise_of_long_rows(
    key: NoiseKey, level_B: Tensor, rows: Sequence[int], canvas_length: int
) -> tuple[Tensor, Tensor]:
    """(level, mask_RL) of the R rows of an update that need a longer canvas than the others.

    Each draws from a stream of its own: a process draws its own rows only, and rows that fit keep the noise that they
    have in a batch without long ones.
    """
    keys = [replace(key, purpose=f"{key.purpose}-long", prompt=row) for row in rows]
    masks = [draw_masks(own, level_B[row, None], canvas_length) for own, row in zip(keys, rows, strict=True)]
    return level_B[list(rows)], torch.cat(masks)
