"""The forwards of a denoising step, approximate: whole canvases once a block, and a window of them in between.

Fast-dLLM (arXiv 2505.22618), block-wise. A block's first step computes the whole canvas and keeps its keys and values;
the block's other steps compute the columns from the block's start to the canvas's end (Prefix) or the block alone
(Dual) and read all others as they were at that first step. The first step of each block is exact, given the tokens so
far.
"""

from collections.abc import Callable, Sequence

import torch

from igpo_trainer.diffusion.canvas import Canvases, CanvasRequest
from igpo_trainer.diffusion.forwards import ForwardCount, guide, share_lanes
from igpo_trainer.diffusion.predictor import CachingPredictor
from igpo_trainer.diffusion.row import Row
from igpo_trainer.models.key_values import KeyValues
from igpo_trainer.spec.sampling import SamplingSpec

Forward = Callable[[KeyValues, torch.Tensor], torch.Tensor]  # (store, ids_BS) -> logits_MV


class CachedForwards:
    """Each row is refreshed at its own blocks, so that what it reads does not depend on its neighbours.

    Guidance keeps a second store, for the canvases whose prompt is masked. Rows that open a block and rows within one
    are in different forwards; with Prefix the latter are grouped by block, because their windows differ in length.
    """

    def __init__(
        self,
        predictor: CachingPredictor,
        requests: Sequence[CanvasRequest],
        canvases: Canvases,
        sampling: SamplingSpec,
        count: ForwardCount,
        rows: int,
    ) -> None:
        self.predictor = predictor
        self.requests = requests
        self.canvases = canvases
        self.sampling = sampling
        self.count = count
        slots = min(rows, len(requests))
        width = canvases.ids_NS.shape[1]
        self.stores = [predictor.key_values(slots, width) for _ in range(sampling.kept_canvases)]
        self.free_slots = list(range(slots))[::-1]
        self.slot_of: dict[int, int] = {}  # by index of the request

    def logits(self, active: Sequence[Row], rows_M: torch.Tensor, canvas_columns_M: torch.Tensor) -> torch.Tensor:
        """See Forwards."""
        for row in active:
            if row.index not in self.slot_of:
                self.slot_of[row.index] = self.free_slots.pop()
        groups: dict[int, list[int]] = {}
        for position, row in enumerate(active):
            groups.setdefault(self._group(row), []).append(position)
        if len(groups) == 1:
            return self._group_logits(active, rows_M, canvas_columns_M)
        logits_MV = None
        for positions in groups.values():
            place_B = torch.full((len(active),), -1, device=rows_M.device)
            place_B[positions] = torch.arange(len(positions), device=rows_M.device)
            within_M = place_B[rows_M] >= 0
            part_MV = self._group_logits(
                [active[position] for position in positions], place_B[rows_M[within_M]], canvas_columns_M[within_M]
            )
            if logits_MV is None:
                logits_MV = part_MV.new_empty(len(rows_M), part_MV.shape[1])
            logits_MV[within_M] = part_MV
        assert logits_MV is not None, "no active row"
        return logits_MV

    def leave(self, row: Row) -> None:
        """Give the row's slot to another."""
        self.free_slots.append(self.slot_of.pop(row.index))

    def _group(self, row: Row) -> int:
        """Rows of one number share a forward: −1 opens a block, else the block of a Prefix window, 0 for Dual."""
        if row.step == 0:
            return -1
        return row.block if self.sampling.cache == "Prefix" else 0

    def _group_logits(self, group: Sequence[Row], rows_M: torch.Tensor, canvas_columns_M: torch.Tensor) -> torch.Tensor:
        slots = [self.slot_of[row.index] for row in group]
        if group[0].step == 0:
            return self._open_blocks(group, slots, rows_M, canvas_columns_M)
        return self._within_blocks(group, slots, rows_M, canvas_columns_M)

    def _open_blocks(
        self, group: Sequence[Row], slots: list[int], rows_M: torch.Tensor, canvas_columns_M: torch.Tensor
    ) -> torch.Tensor:
        """Whole canvases; equal fresh ones share a lane, whose keys and values all of them keep."""
        lanes, lane_of_row = share_lanes(group)
        longest = max(len(self.requests[index].prompt_ids) for index in lanes)
        ids_BS, attention_BS = self.canvases.gather(torch.tensor(lanes, device=rows_M.device), longest)
        lane_M = torch.tensor(lane_of_row, device=rows_M.device)[rows_M]
        columns_M = canvas_columns_M + longest

        def forward(stored: KeyValues, ids_BS: torch.Tensor) -> torch.Tensor:
            self.count.whole += 1
            self.count.columns += ids_BS.numel()
            return self.predictor.logits_keeping(stored, slots, lane_of_row, ids_BS, attention_BS, lane_M, columns_M)

        return self._guided(forward, ids_BS, longest)

    def _within_blocks(
        self, group: Sequence[Row], slots: list[int], rows_M: torch.Tensor, canvas_columns_M: torch.Tensor
    ) -> torch.Tensor:
        """A window of each canvas, of the same length in all rows."""
        block_length = self.sampling.block_length
        longest = max(len(row.request.prompt_ids) for row in group)
        index_B, starts_B = torch.tensor(
            [[row.index for row in group], [longest + row.block * block_length for row in group]], device=rows_M.device
        )
        length = block_length
        if self.sampling.cache == "Prefix":
            length = self.sampling.completion_length - group[0].block * block_length
        ids_BS, attention_BS = self.canvases.gather(index_B, longest)
        columns_M = canvas_columns_M + longest

        def forward(stored: KeyValues, ids_BS: torch.Tensor) -> torch.Tensor:
            self.count.windows += 1
            self.count.columns += len(group) * length
            return self.predictor.logits_reading(
                stored, slots, starts_B, length, ids_BS, attention_BS, rows_M, columns_M
            )

        return self._guided(forward, ids_BS, longest)

    def _guided(self, forward: Forward, ids_BS: torch.Tensor, longest_prompt: int) -> torch.Tensor:
        logits_MV = forward(self.stores[0], ids_BS)
        if self.sampling.cfg_scale > 0:
            ids_BS[:, :longest_prompt] = self.predictor.tokens.mask_id
            logits_MV = guide(logits_MV, forward(self.stores[1], ids_BS), self.sampling.cfg_scale)
        return logits_MV
