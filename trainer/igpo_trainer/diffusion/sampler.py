"""Semi-autoregressive denoising with hints: LLaDA's sampler, without the work that cannot change its tokens.

Exact savings: the language-model head runs on the masked positions of each row's active block only; every row advances
at its own block and step, so that steps without a quota do not exist and no row waits for another; a row stops once its
completed blocks hold an end token, and a waiting request takes its place; rows whose canvases are still the same share
one forward.

Two options give other tokens than that, for speed: `sampling.cache` (see cached_forwards) and
`sampling.confidenceThreshold`, with which a step also keeps every prediction at least that probable.
"""

import math
from collections import deque
from collections.abc import Callable, Sequence

import torch

from igpo_trainer.diffusion.cached_forwards import CachedForwards
from igpo_trainer.diffusion.canvas import Canvases, CanvasRequest, Completion
from igpo_trainer.diffusion.forwards import ExactForwards, ForwardCount, Forwards
from igpo_trainer.diffusion.predictor import CachingPredictor
from igpo_trainer.diffusion.row import Row
from igpo_trainer.diffusion.selection import choose_tokens, keep_best
from igpo_trainer.spec.errors import InvalidRunError
from igpo_trainer.spec.sampling import SamplingSpec

__all__ = ["CanvasRequest", "Completion", "ForwardCount", "SamplingStoppedError", "sample"]


class SamplingStoppedError(Exception):
    """`should_stop` said so; no completion of this call is returned."""


@torch.no_grad()
def sample(
    predictor: CachingPredictor,
    requests: Sequence[CanvasRequest],
    sampling: SamplingSpec,
    *,
    rows: int,
    noise_dtype: torch.dtype = torch.float32,
    progress: Callable[[int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    count: ForwardCount | None = None,
    finished: Callable[[dict[int, Completion]], None] | None = None,
) -> list[Completion]:
    """Denoise one completion per request, in the order of the requests; at most `rows` are in a forward at once.

    A completion is a function of its request and of `sampling` alone. Hints stay where they are; those behind the
    first end token leave with the end-fill. `noise_dtype` float64 draws and compares Gumbel noise in double precision.
    `progress` gets the number of blocks finished since its last call (in all: requests × blocks), `finished` gets
    completions as they are done, by the index of their request, each once. `should_stop` is asked before each denoising
    step and ends the call with SamplingStoppedError. `count` is added to. The number of forwards depends on the tokens:
    a model whose forward is a collective must have its weights gathered first. Raises InvalidRunError (rows),
    InvalidDataError (hints), RunError (non-finite logits), and what the allocator raises when memory runs out.
    """
    if rows < 1:
        raise InvalidRunError(f"{rows} rollout rows; at least 1 is needed")
    denoising = _Denoising(predictor, requests, sampling, noise_dtype, rows, count or ForwardCount())
    reported, more = 0, True
    while more:
        more = denoising.admit()
        if progress is not None and denoising.blocks_done > reported:
            progress(denoising.blocks_done - reported)
            reported = denoising.blocks_done
        if finished is not None and denoising.left:
            finished(denoising.take_left())
        if more and should_stop is not None and should_stop():
            raise SamplingStoppedError
        if more:
            denoising.step()
    return denoising.completions()


class _Denoising:
    """The rows under way, longest prompts first: neighbours are alike in length, and the batch narrows as it goes."""

    def __init__(
        self,
        predictor: CachingPredictor,
        requests: Sequence[CanvasRequest],
        sampling: SamplingSpec,
        noise_dtype: torch.dtype,
        rows: int,
        count: ForwardCount,
    ) -> None:
        self.tokens = predictor.tokens
        self.sampling = sampling
        self.noise_dtype = noise_dtype
        self.requests = requests
        self.rows = rows
        self.canvases = Canvases.of(requests, sampling.completion_length, predictor.tokens, predictor.device)
        self.forwards: Forwards
        if sampling.cache == "None":
            self.forwards = ExactForwards(predictor, requests, self.canvases, sampling.cfg_scale, count)
        else:
            self.forwards = CachedForwards(predictor, requests, self.canvases, sampling, count, rows)
        order = sorted(range(len(requests)), key=lambda index: -len(requests[index].prompt_ids))
        self.waiting = deque(order)
        self.active: list[Row] = []
        self.left: list[int] = []  # requests that were finished since take_left
        self.blocks_done = 0

    def admit(self) -> bool:
        """Fill up to `rows` active rows; False when nothing is left to denoise."""
        while self.waiting and len(self.active) < self.rows:
            index = self.waiting.popleft()
            row = Row(index, self.requests[index], self.sampling)
            if row.open_next_block(self.tokens.eos_id):
                self.active.append(row)
            else:
                self.left.append(index)
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

        logits_MV = self.forwards.logits(self.active, rows_M, canvas_columns_BK[masked_BK])
        draws = [row.draw for row in self.active]
        tokens_M, confidence_M = choose_tokens(
            logits_MV, draws, self.sampling.temperature, self.sampling.remasking, self.noise_dtype
        )
        confidence_BK = confidence_M.new_full(masked_BK.shape, float("-inf")).masked_scatter_(masked_BK, confidence_M)
        kept_BK = keep_best(confidence_BK, quota_B)
        threshold = self.sampling.confidence_threshold
        if threshold is not None:
            kept_BK |= confidence_BK >= math.log(threshold)
        block_BK = torch.where(kept_BK, block_BK.masked_scatter(masked_BK, tokens_M), block_BK)
        self.canvases.ids_NS[index_B[:, None], columns_BK] = block_BK
        kept = [row.quota for row in self.active] if threshold is None else kept_BK.sum(dim=1).tolist()
        self._advance(block_BK, kept)

    def _advance(self, block_BK: torch.Tensor, kept: Sequence[int]) -> None:
        """Move every row on; a row leaves when its completed block holds an end token or was the last."""
        completed = [row.advance(count) for row, count in zip(self.active, kept, strict=True)]
        ended: list[bool] = (block_BK == self.tokens.eos_id).any(dim=1).tolist() if any(completed) else []
        staying = []
        for position, row in enumerate(self.active):
            if not completed[position]:
                staying.append(row)
                continue
            before = row.block
            if ended[position]:
                row.close()
            if not ended[position] and row.open_next_block(self.tokens.eos_id):
                staying.append(row)
            else:
                self.forwards.leave(row)
                self.left.append(row.index)
            self.blocks_done += row.block - before
        self.active = staying

    def take_left(self) -> dict[int, Completion]:
        """Completions of the requests that were finished since the last call."""
        left, self.left = self.left, []
        return dict(zip(left, self.canvases.completions(self.tokens.eos_id, left), strict=True))

    def completions(self) -> list[Completion]:
        """All canvases, in the order of the requests."""
        return self.canvases.completions(self.tokens.eos_id)
