"""Semi-autoregressive denoising with hints: LLaDA's sampler, without the work that cannot change its tokens.

Exact savings: the language-model head runs on the masked positions of each row's active block only; every row advances
at its own block and step, so that steps without a quota do not exist and no row waits for another; a row stops once its
completed blocks hold an end token, and a waiting request takes its place; rows whose canvases are still the same share
one forward.
"""

from collections import deque
from collections.abc import Callable, Sequence

import torch

from igpo_trainer.diffusion.canvas import Canvases, CanvasRequest, Completion
from igpo_trainer.diffusion.predictor import Predictor
from igpo_trainer.diffusion.row import Row
from igpo_trainer.diffusion.selection import choose_tokens, keep_best
from igpo_trainer.spec.errors import InvalidRunError
from igpo_trainer.spec.sampling import SamplingSpec

__all__ = ["CanvasRequest", "Completion", "SamplingStoppedError", "sample"]


class SamplingStoppedError(Exception):
    """`should_stop` said so; no completion of this call is returned."""


@torch.no_grad()
def sample(
    predictor: Predictor,
    requests: Sequence[CanvasRequest],
    sampling: SamplingSpec,
    *,
    rows: int,
    noise_dtype: torch.dtype = torch.float32,
    progress: Callable[[int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> list[Completion]:
    """Denoise one completion per request, in the order of the requests; at most `rows` are in a forward at once.

    A completion is a function of its request and of `sampling` alone. Hints stay where they are; those behind the
    first end token leave with the end-fill. `noise_dtype` float64 draws and compares Gumbel noise in double precision.
    `progress` gets the number of blocks finished since its last call (in all: requests × blocks). `should_stop` is
    asked before each denoising step and ends the call with SamplingStoppedError. The number of forwards depends on the
    tokens: a model whose forward is a collective must have its weights gathered first. Raises InvalidRunError (rows),
    InvalidDataError (hints), RunError (non-finite logits).
    """
    if rows < 1:
        raise InvalidRunError(f"{rows} rollout rows; at least 1 is needed")
    denoising = _Denoising(predictor, requests, sampling, noise_dtype)
    reported = 0
    while denoising.admit(rows):
        if should_stop is not None and should_stop():
            raise SamplingStoppedError
        denoising.step()
        if progress is not None and denoising.blocks_done > reported:
            progress(denoising.blocks_done - reported)
            reported = denoising.blocks_done
    if progress is not None and denoising.blocks_done > reported:
        progress(denoising.blocks_done - reported)
    return denoising.completions()


class _Denoising:
    """The rows under way, longest prompts first: neighbours are alike in length, and the batch narrows as it goes."""

    def __init__(
        self,
        predictor: Predictor,
        requests: Sequence[CanvasRequest],
        sampling: SamplingSpec,
        noise_dtype: torch.dtype,
    ) -> None:
        self.predictor = predictor
        self.tokens = predictor.tokens
        self.sampling = sampling
        self.noise_dtype = noise_dtype
        self.requests = requests
        self.canvases = Canvases.of(requests, sampling.completion_length, predictor.tokens, predictor.device)
        order = sorted(range(len(requests)), key=lambda index: -len(requests[index].prompt_ids))
        self.waiting = deque(order)
        self.active: list[Row] = []
        self.blocks_done = 0

    def admit(self, rows: int) -> bool:
        """Fill up to `rows` active rows; False when nothing is left to denoise."""
        while self.waiting and len(self.active) < rows:
            index = self.waiting.popleft()
            row = Row(index, self.requests[index], self.sampling)
            if row.open_next_block(self.tokens.eos_id):
                self.active.append(row)
            self.blocks_done += row.block
        return bool(self.active)

    def step(self) -> None:
        """One denoising step of every active row."""
        device = self.canvases.ids_NS.device
        block_length = self.sampling.block_length
        index_B, column_B, quota_B = torch.tensor(
            [
                [row.index for row in self.active],
                [row.block * block_length for row in self.active],
                [row.quota for row in self.active],
            ],
            device=device,
        )
        canvas_columns_BK = column_B[:, None] + torch.arange(block_length, device=device)
        columns_BK = self.canvases.ids_NS.shape[1] - self.sampling.completion_length + canvas_columns_BK
        block_BK = self.canvases.ids_NS[index_B[:, None], columns_BK]
        masked_BK = block_BK == self.tokens.mask_id
        rows_M = masked_BK.nonzero()[:, 0]

        logits_MV = self._logits(rows_M, canvas_columns_BK[masked_BK])
        draws = [row.draw for row in self.active]
        tokens_M, confidence_M = choose_tokens(
            logits_MV, draws, self.sampling.temperature, self.sampling.remasking, self.noise_dtype
        )
        confidence_BK = confidence_M.new_full(masked_BK.shape, float("-inf")).masked_scatter_(masked_BK, confidence_M)
        kept_BK = keep_best(confidence_BK, quota_B)
        block_BK = torch.where(kept_BK, block_BK.masked_scatter(masked_BK, tokens_M), block_BK)
        self.canvases.ids_NS[index_B[:, None], columns_BK] = block_BK
        self._advance(block_BK)

    def _logits(self, rows_M: torch.Tensor, canvas_columns_M: torch.Tensor) -> torch.Tensor:
        """logits_MV, with classifier-free guidance: uncond + (scale + 1)·(cond − uncond) (LLaDA)."""
        lanes, lane_of_row = self._lanes()
        longest = max(len(self.requests[index].prompt_ids) for index in lanes)
        device = rows_M.device
        ids_BS, attention_BS = self.canvases.gather(torch.tensor(lanes, device=device), longest)
        if len(lanes) < len(lane_of_row):
            rows_M = torch.tensor(lane_of_row, device=device)[rows_M]
        columns_M = canvas_columns_M + longest
        logits_MV = self.predictor.logits_at(ids_BS, attention_BS, rows_M, columns_M)
        if self.sampling.cfg_scale > 0:
            ids_BS[:, :longest] = self.tokens.mask_id
            unguided_MV = self.predictor.logits_at(ids_BS, attention_BS, rows_M, columns_M)
            banned_MV = logits_MV.isneginf()  # −inf − (−inf) is no number
            logits_MV = unguided_MV + (self.sampling.cfg_scale + 1) * (logits_MV - unguided_MV)
            logits_MV = logits_MV.masked_fill(banned_MV, float("-inf"))
        return logits_MV

    def _lanes(self) -> tuple[list[int], list[int]]:
        """Return a request for each forward lane, and the lane of each active row: equal fresh rows share one."""
        lanes: list[int] = []
        lane_of_row: list[int] = []
        lane_of_content: dict[tuple[tuple[int, ...], frozenset[tuple[int, int]]], int] = {}
        for row in self.active:
            lane = len(lanes)
            if row.fresh:
                content = (row.request.prompt_ids, frozenset(row.request.hints.items()))
                lane = lane_of_content.setdefault(content, lane)
                row.fresh = False
            if lane == len(lanes):
                lanes.append(row.index)
            lane_of_row.append(lane)
        return lanes, lane_of_row

    def _advance(self, block_BK: torch.Tensor) -> None:
        """Move every row on; a row leaves when its completed block holds an end token or was the last."""
        ended: list[bool] = []
        if any(row.completes_block for row in self.active):
            ended = (block_BK == self.tokens.eos_id).any(dim=1).tolist()
        staying = []
        for position, row in enumerate(self.active):
            if not row.completes_block:
                row.advance()
                staying.append(row)
                continue
            before = row.block
            if ended[position]:
                row.close()
            elif row.open_next_block(self.tokens.eos_id):
                staying.append(row)
            self.blocks_done += row.block - before
        self.active = staying

    def completions(self) -> list[Completion]:
        """All canvases, in the order of the requests."""
        return self.canvases.completions(self.tokens.eos_id)
