"""Completions sampled and judged, the work pooled over all processes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from transformers import PreTrainedTokenizerBase

from igpo_trainer.data.problem import EncodedProblem
from igpo_trainer.diffusion.noise import NoiseKey
from igpo_trainer.diffusion.sampler import CanvasRequest, Completion, SamplingStoppedError, sample
from igpo_trainer.igpo.rollout import Rollout
from igpo_trainer.loop.interruption import StopRequestedError
from igpo_trainer.loop.policy import Policy
from igpo_trainer.loop.ranks import Ranks
from igpo_trainer.rewards.judge import Judge
from igpo_trainer.rewards.score import Score
from igpo_trainer.rewards.verdict import JudgeTask
from igpo_trainer.spec.sampling import SamplingSpec


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
    rows: int
    """Canvases in one forward pass."""
    on_progress: Callable[[int], None]
    """Called with the number of blocks that were finished."""
    should_stop: Callable[[], bool]

    def run(self, requests: Sequence[RolloutRequest], sampling: SamplingSpec) -> list[JudgedRollout]:
        """One judged rollout per request, on every process, in the order of the requests.

        Each process does its equal share, whatever prompts it falls on, so an unlucky prompt holds nobody up. Sharded
        weights are gathered before: once a cycle, since rescue, scoring and evaluation use the same.
        """
        self.policy.gather()
        return self.ranks.pooled(requests, lambda share: self._sample_and_judge(share, sampling))

    def _sample_and_judge(self, requests: Sequence[RolloutRequest], sampling: SamplingSpec) -> list[JudgedRollout]:
        if not requests:  # nothing to rescue, or fewer requests than processes; decoding no row gives one
            return []
        canvases = [CanvasRequest(r.encoded.prompt_ids, r.key, r.hints) for r in requests]
        try:
            completions = sample(
                self.policy.denoiser,
                canvases,
                sampling,
                rows=self.rows,
                progress=self.on_progress,
                should_stop=self.should_stop,
            )
        except SamplingStoppedError as error:
            raise StopRequestedError from error
        texts = self.tokenizer.batch_decode([list(c.ids[: c.length]) for c in completions], skip_special_tokens=True)
        tasks = [
            JudgeTask(r.encoded.problem.prompt, text, r.encoded.problem.answer)
            for r, text in zip(requests, texts, strict=True)
        ]
        scores = self.judge.score(tasks)
        return [_judged(*parts) for parts in zip(requests, completions, scores, strict=True)]


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
