"""Measuring the policy on held-out problems: pass@1, avg@k, pass@k, with bootstrap intervals over problems."""

import time
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from igpo_trainer.boxed import last_boxed
from igpo_trainer.data.problem import EncodedProblem
from igpo_trainer.diffusion.noise import NoiseKey
from igpo_trainer.igpo.rollout import Rollout
from igpo_trainer.loop.rollouts import RolloutRequest, RolloutWorker
from igpo_trainer.observe.records import EvaluationRecord, Time
from igpo_trainer.rewards.verdict import Outcome
from igpo_trainer.spec.run import EvaluationSet
from igpo_trainer.spec.sampling import SamplingSpec

RESAMPLES = 1000
INTERVAL = (2.5, 97.5)


def evaluate(
    worker: RolloutWorker,
    problems: Sequence[EncodedProblem],
    measured: EvaluationSet,
    sampling: SamplingSpec,
    *,
    step: int,
    seed: int,
) -> EvaluationRecord:
    """Measure the current policy on `problems`; equal on every process, and for every world size.

    The samples' noise is keyed by (seed, problem, sample) and not by step, so two measurements of a run are paired.
    """
    began = time.time()
    settings = sampling.model_copy(update={"temperature": measured.temperature})
    requests = [
        RolloutRequest(encoded, NoiseKey(seed, "evaluation", 0, row, k))
        for row, encoded in enumerate(problems)
        for k in range(measured.samples)
    ]
    rollouts = [judged.rollout for judged in worker.run(requests, settings)]
    groups = [rollouts[i : i + measured.samples] for i in range(0, len(rollouts), measured.samples)]
    right_PK = np.array([[r.outcome is Outcome.RIGHT for r in group] for group in groups], dtype=np.float64)
    per_problem_P = right_PK.mean(axis=1)
    low, high = bootstrap_interval(per_problem_P, seed)
    by_difficulty: dict[str, list[float]] = defaultdict(list)
    for encoded, score in zip(problems, per_problem_P, strict=True):
        by_difficulty[encoded.problem.difficulty or "all"].append(float(score))
    several = measured.samples > 1
    return EvaluationRecord(
        step=step,
        dataset=measured.source,
        samples=measured.samples,
        temperature=measured.temperature,
        problems=len(problems),
        accuracy=float(per_problem_P.mean()),
        interval_low=low,
        interval_high=high,
        right=tuple(int(count) for count in right_PK.sum(axis=1)),
        accuracy_by_difficulty={name: sum(v) / len(v) for name, v in sorted(by_difficulty.items())},
        problems_by_difficulty={name: len(v) for name, v in sorted(by_difficulty.items())},
        all_wrong=float((per_problem_P == 0).mean()) if several else None,
        pass_at_k=float((per_problem_P > 0).mean()) if several else None,
        distinct_answers=_distinct_answers(worker, groups) if several else None,
        unjudged=sum(r.outcome is Outcome.UNJUDGED for r in rollouts),
        completion_lengths=dict(Counter(r.length for r in rollouts)),
        truncated=sum(is_truncated(r, worker.policy.denoiser.tokens.eos_id) for r in rollouts),
        seed=seed,
        denoising_steps=sampling.steps,
        block_length=sampling.block_length,
        completion_length=sampling.completion_length,
        rows=worker.rows,
        time=Time(at=time.time(), seconds=time.time() - began),
    )


def bootstrap_interval(score_P: np.ndarray, seed: int) -> tuple[float, float]:
    """95 % percentile interval of the mean over problems, from 1,000 resamples of problems, keyed by `seed`."""
    generator = np.random.default_rng(seed)
    picks_RP = generator.integers(0, len(score_P), size=(RESAMPLES, len(score_P)))
    low, high = np.percentile(score_P[picks_RP].mean(axis=1), INTERVAL)
    return float(low), float(high)


def is_truncated(rollout: Rollout, eos_id: int) -> bool:
    """Whether the completion fills the canvas without an end token."""
    return rollout.ids[rollout.length - 1] != eos_id


def _distinct_answers(worker: RolloutWorker, groups: Sequence[Sequence[Rollout]]) -> float:
    """Mean number of different final answers in a group; completions without one count as one answer."""
    counts = []
    for group in groups:
        texts = worker.tokenizer.batch_decode([list(r.ids[: r.length]) for r in group], skip_special_tokens=True)
        counts.append(len({last_boxed(text) for text in texts}))
    return sum(counts) / len(counts)
