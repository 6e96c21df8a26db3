"""The forwards of a denoising step, exact: every step computes whole canvases."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from igpo_trainer.diffusion.canvas import Canvases, CanvasRequest
from igpo_trainer.diffusion.predictor import Predictor
from igpo_trainer.diffusion.row import Row


@dataclass(slots=True)
class ForwardCount:
    """What a call of the sampler cost, guidance included."""

    whole: int = 0
    """Forwards over whole canvases."""
    windows: int = 0
    """Forwards over a part of each canvas, the rest read from a cache."""
    columns: int = 0
    """Columns that went through the network, padding included, over all rows and forwards."""


class Forwards(Protocol):
    """Where a denoising step gets its logits from."""

    def logits(self, active: Sequence[Row], rows_M: torch.Tensor, canvas_columns_M: torch.Tensor) -> torch.Tensor:
        """logits_MV at canvas columns of the active rows; rows_M are indices into `active`, ascending."""

    def leave(self, row: Row) -> None:
        """`row` is finished."""


class ExactForwards:
    """One forward over all active canvases, two with guidance; canvases that are still equal share a lane."""

    def __init__(
        self,
        predictor: Predictor,
        requests: Sequence[CanvasRequest],
        canvases: Canvases,
        cfg_scale: float,
        count: ForwardCount,
    ) -> None:
        self.predictor = predictor
        self.requests = requests
        self.canvases = canvases
        self.cfg_scale = cfg_scale
        self.count = count

    def logits(self, active: Sequence[Row], rows_M: torch.Tensor, canvas_columns_M: torch.Tensor) -> torch.Tensor:
        """See Forwards."""
        lanes, lane_of_row = share_lanes(active)
        longest = max(len(self.requests[index].prompt_ids) for index in lanes)
        device = rows_M.device
        ids_BS, attention_BS = self.canvases.gather(torch.tensor(lanes, device=device), longest)
        if len(lanes) < len(lane_of_row):
            rows_M = torch.tensor(lane_of_row, device=device)[rows_M]
        columns_M = canvas_columns_M + longest
        logits_MV = self._forward(ids_BS, attention_BS, rows_M, columns_M)
        if self.cfg_scale > 0:
            ids_BS[:, :longest] = self.predictor.tokens.mask_id
            logits_MV = guide(logits_MV, self._forward(ids_BS, attention_BS, rows_M, columns_M), self.cfg_scale)
        return logits_MV

    def leave(self, row: Row) -> None:
        """Nothing is kept of a row."""

    def _forward(
        self, ids_BS: torch.Tensor, attention_BS: torch.Tensor, rows_M: torch.Tensor, columns_M: torch.Tensor
    ) -> torch.Tensor:
        self.count.whole += 1
        self.count.columns += ids_BS.numel()
        return self.predictor.logits_at(ids_BS, attention_BS, rows_M, columns_M)


def guide(logits_MV: torch.Tensor, unguided_MV: torch.Tensor, cfg_scale: float) -> torch.Tensor:
    """Classifier-free guidance: uncond + (scale + 1)·(cond − uncond) (LLaDA); banned ids stay at −inf."""
    banned_MV = logits_MV.isneginf()  # −inf − (−inf) is no number
    logits_MV = unguided_MV + (cfg_scale + 1) * (logits_MV - unguided_MV)
    return logits_MV.masked_fill(banned_MV, float("-inf"))


def share_lanes(active: Iterable[Row]) -> tuple[list[int], list[int]]:
    """Return a request for each forward lane, and the lane of each active row: equal fresh rows share one."""
    lanes: list[int] = []
    lane_of_row: list[int] = []
    lane_of_content: dict[tuple[tuple[int, ...], frozenset[tuple[int, int]]], int] = {}
    for row in active:
        lane = len(lanes)
        if row.fresh:
            content = (row.request.prompt_ids, frozenset(row.request.hints.items()))
            lane = lane_of_content.setdefault(content, lane)
            row.fresh = False
        if lane == len(lanes):
            lanes.append(row.index)
        lane_of_row.append(lane)
    return lanes, lane_of_row
