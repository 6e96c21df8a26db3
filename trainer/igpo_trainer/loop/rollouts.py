"""Completions sampled and judged, the work pooled over all processes."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

from transformers import PreTrainedTokenizerBase

from igpo_trainer.data.problem import EncodedProblem
from igpo_trainer.diffusion.noise import NoiseKey
from igpo_trainer.diffusion.sampler import CanvasRequest, Completion, SamplingStoppedError, sample
from igpo_trainer.igpo.rollout import Rollout
from igpo_trainer.loop.batching import BatchSizes
from igpo_trainer.loop.interruption import StopRequestedError
from igpo_trainer.loop.judging import Judging
from igpo_trainer.loop.policy import Policy
from igpo_trainer.loop.ranks import Ranks
from igpo_trainer.models.memory import is_out_of_memory, release_memory
from igpo_trainer.rewards.judge import Judge
from igpo_trainer.rewards.score import Score
from igpo_trainer.spec.errors import RunError
from igpo_trainer.spec.sampling import SamplingSpec

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RolloutRequest:
    """One completion wanted of one problem."""

    encoded: EncodedProblem
    key: NoiseKey
    hints: Mapping[int, int] = field(default_factory=dict)
    """Canvas index to token id, fixed through all denoising steps."""


@dataclass(frozen=True, slots=True)
class JudgedRollout:
    """A rollout and why it has no verdict, if it has none."""

    rollout: Rollout
    unjudged_reason: str = ""


@dataclass(frozen=True, slots=True)
class RolloutWorker:
    """Samples completions from the current policy and has them judged."""

    policy: Policy
    tokenizer: PreTrainedTokenizerBase
    judge: Judge
    ranks: Ranks
    sizes: BatchSizes
    """Its rollout_rows are halved where memory runs out."""
    on_progress: Callable[[int], None]
    """Called with the number of blocks that were finished."""
    should_stop: Callable[[], bool]
    on_out_of_memory: Callable[[int], None] = lambda _: None
    """Told how often memory ran out, over all processes, after it did."""

    @property
    def rows(self) -> int:
        """Canvases in one forward pass."""
        return self.sizes.rollout_rows

    def run(self, requests: Sequence[RolloutRequest], sampling: SamplingSpec) -> list[JudgedRollout]:
        """One judged rollout per request, on every process, in the order of the requests.

        Each process does its equal share, whatever prompts it falls on, so an unlucky prompt holds nobody up. Sharded
        weights are gathered before: once a cycle, since rescue, scoring and evaluation use the same. Where memory runs
        out, unfinished completions begin again with half as many rows; later calls keep to that everywhere. Raises
        RunError when memory has no room for one row.
        """
        self.policy.gather()
        times = 0

        def work(share: list[RolloutRequest]) -> list[JudgedRollout]:
            nonlocal times
            judged, times = self._sample_and_judge(share, sampling)
            return judged

        judged = self.ranks.pooled(requests, work)
        everywhere = self.ranks.gather_objects((self.rows, times))
        self.sizes.rollout_rows = min(rows for rows, _ in everywhere)
        if total := sum(theirs for _, theirs in everywhere):
            self.on_out_of_memory(total)
        return judged

    def _sample_and_judge(
        self, requests: Sequence[RolloutRequest], sampling: SamplingSpec
    ) -> tuple[list[JudgedRollout], int]:
        """Judged rollouts of this process's requests, and how often memory ran out."""
        if not requests:  # nothing to rescue, or fewer requests than processes; decoding no row gives one
            return [], 0
        completions: dict[int, Completion] = {}
        times = 0
        with Judging(self.judge, self.tokenizer, [r.encoded for r in requests]) as judging:
            while not self._sampled(requests, sampling, completions, judging):
                times += 1
                self._halve(requests, sampling)
            scores = judging.scores()
        return [_judged(r, completions[i], scores[i]) for i, r in enumerate(requests)], times

    def _sampled(
        self,
        requests: Sequence[RolloutRequest],
        sampling: SamplingSpec,
        completions: dict[int, Completion],
        judging: Judging,
    ) -> bool:
        """Sample the requests that have no completion yet; False when memory ran out, with some that have none."""
        left = [index for index in range(len(requests)) if index not in completions]

        def keep(finished: Mapping[int, Completion]) -> None:
            found = {left[index]: completion for index, completion in finished.items()}
            completions.update(found)
            judging.add(found)

        canvases = [CanvasRequest(r.encoded.prompt_ids, r.key, r.hints) for r in (requests[index] for index in left)]
        denoiser = self.policy.denoiser
        # The outermost autocast keeps bf16 copies of trained weights; without it every forward makes them anew. A GPU
        # has no room for them and casts fast.
        once = denoiser.autocast() if denoiser.device.type == "cpu" else nullcontext()
        try:
            with once:
                sample(
                    denoiser,
                    canvases,
                    sampling,
                    rows=self.rows,
                    progress=self.on_progress,
                    should_stop=self.should_stop,
                    finished=keep,
                )
        except SamplingStoppedError as error:
            raise StopRequestedError from error
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            return False  # from here on nothing holds the error, nor through its traceback the tensors of the forward
        return True

    def _halve(self, requests: Sequence[RolloutRequest], sampling: SamplingSpec) -> None:
        rows = self.rows
        if rows == 1:
            longest = max(len(r.encoded.prompt_ids) for r in requests) + sampling.completion_length
            raise RunError(
                f"memory ran out with 1 rollout row of {longest} tokens; give the process more, or lower "
                "dataset.maxPromptTokens or sampling.completionLength"
            )
        release_memory(self.policy.denoiser.device)
        self.sizes.rollout_rows = rows // 2
        logger.warning(
            "memory ran out with %d rollout rows, going on with %d; batching.rolloutRows: %d avoids the attempt",
            rows,
            rows // 2,
            rows // 2,
        )


def _judged(request: RolloutRequest, completion: Completion, score: Score) -> JudgedRollout:
    parts = {"correctness": float(score.correctness == "right"), "format": score.format, **score.custom}
    rollout = Rollout(
        ids=completion.ids,
        length=completion.length,
        outcome=score.correctness,
        reward=score.total,
        parts=tuple(sorted(parts.items())),
        hint_positions=tuple(sorted(i for i in request.hints if i < completion.length)),
    )
    return JudgedRollout(rollout, score.reason)
