"""Measuring the policy on held-out problems: pass@1, avg@k, pass@k, with bootstrap intervals over problems."""

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from igpo_trainer.boxed import last_boxed
from igpo_trainer.data.problem import EncodedProblem
from igpo_trainer.diffusion.noise import NoiseKey
from igpo_trainer.igpo.rollout import Rollout
from igpo_trainer.loop.heldout_loss import heldout_loss
from igpo_trainer.loop.rollouts import JudgedRollout, RolloutRequest, RolloutWorker
from igpo_trainer.observe.estimates import Estimate, Values, avg_at_k, by_group, pass_at_k, powers_up_to
from igpo_trainer.observe.evaluations import EvaluatedSample, Evaluation
from igpo_trainer.observe.records import EvaluationRecord, EvaluationTime, Measure
from igpo_trainer.rewards.plain import number_of
from igpo_trainer.spec.document import Spec
from igpo_trainer.spec.run import HOLDOUT, EvaluationSet
from igpo_trainer.spec.sft import LengthAlignedSFTSpec


def evaluate(
    worker: RolloutWorker,
    problems: Sequence[EncodedProblem],
    measured: EvaluationSet,
    spec: Spec,
    *,
    step: int,
) -> Evaluation:
    """Measure the current policy on `problems`; equal on every process, and for every world size.

    The samples' noise is keyed by (seed, problem, sample) and not by step, so two measurements of a run are paired.
    Fine-tuning has its loss on the held-out problems measured, too.
    """
    began = time.time()
    sampling, seed = spec.sampling, spec.seed
    settings = sampling.model_copy(update={"temperature": measured.temperature})
    requests = [
        RolloutRequest(encoded, NoiseKey(seed, "evaluation", 0, row, k))
        for row, encoded in enumerate(problems)
        for k in range(measured.samples)
    ]
    judged = worker.run(requests, settings)
    samples = _samples(worker, requests, judged)
    loss = None
    if isinstance(spec, LengthAlignedSFTSpec) and measured.source == HOLDOUT:
        loss = heldout_loss(worker.policy, worker.ranks, problems, spec.length, seed=seed, rows=worker.rows)
    record = EvaluationRecord(
        step=step,
        dataset=measured.label,
        samples=measured.samples,
        temperature=measured.temperature,
        problems=len(problems),
        **_statistics(problems, samples, measured.samples, seed),
        unjudged=sum(s.verdict == "unjudged" for s in samples),
        completion_lengths=dict(Counter(s.length for s in samples)),
        truncated=sum(s.truncated for s in samples),
        sft_loss=loss,
        seed=seed,
        denoising_steps=sampling.steps,
        block_length=sampling.block_length,
        completion_length=sampling.completion_length,
        remasking=sampling.remasking,
        cfg_scale=sampling.cfg_scale,
        cache=sampling.cache,
        confidence_threshold=sampling.confidence_threshold,
        rows=worker.rows,
        time=EvaluationTime(
            at=time.time(),
            seconds=time.time() - began,
            world_size=worker.ranks.world,
            device=_device_name(worker.policy.denoiser.device),
        ),
    )
    return Evaluation(record, samples)


def is_truncated(rollout: Rollout, eos_id: int) -> bool:
    """Whether the completion fills the canvas without an end token."""
    return rollout.ids[rollout.length - 1] != eos_id


def _samples(
    worker: RolloutWorker, requests: Sequence[RolloutRequest], judged: Sequence[JudgedRollout]
) -> tuple[EvaluatedSample, ...]:
    rollouts = [j.rollout for j in judged]
    texts = worker.tokenizer.batch_decode([list(r.ids[: r.length]) for r in rollouts], skip_special_tokens=True)
    eos_id = worker.policy.denoiser.tokens.eos_id
    return tuple(
        EvaluatedSample(
            problem=request.encoded.problem.key,
            difficulty=request.encoded.problem.difficulty,
            sample=request.key.sample,
            answer=request.encoded.problem.answer,
            found=last_boxed(text),
            verdict=j.rollout.outcome.value,
            reason=j.unjudged_reason,
            length=j.rollout.length,
            truncated=is_truncated(j.rollout, eos_id),
            text=text,
        )
        for request, j, text in zip(requests, judged, texts, strict=True)
    )


def _statistics(
    problems: Sequence[EncodedProblem], samples: Sequence[EvaluatedSample], k: int, seed: int
) -> dict[str, Any]:
    """Everything of a record that follows from the verdicts."""
    right_P = np.array([s.verdict == "right" for s in samples], dtype=np.float64).reshape(-1, k).sum(axis=1)
    kinds = tuple(encoded.problem.difficulty or "all" for encoded in problems)

    def estimate(value_P: Values) -> Estimate:
        return Estimate.of(value_P, seed)

    score_P = avg_at_k(right_P, k)
    accuracy, by_kind = estimate(score_P), by_group(kinds, score_P, estimate)
    found: dict[str, Any] = {
        "accuracy": accuracy.mean,
        "interval_low": accuracy.low,
        "interval_high": accuracy.high,
        "right": tuple(int(count) for count in right_P),
        "accuracy_by_difficulty": {kind: part.mean for kind, part in by_kind.items()},
        "interval_by_difficulty": {kind: (part.low, part.high) for kind, part in by_kind.items()},
        "problems_by_difficulty": dict(sorted(Counter(kinds).items())),
    }
    return found | (_over_several(samples, kinds, right_P, k, seed) if k > 1 else {})


def _over_several(
    samples: Sequence[EvaluatedSample], kinds: tuple[str, ...], right_P: Values, k: int, seed: int
) -> dict[str, Any]:
    """What exists with more than one sample a problem only."""
    passed_P = pass_at_k(right_P, k, k)
    passed = Estimate.of(passed_P, seed)
    by_kind = by_group(kinds, passed_P, lambda value_P: Estimate.of(value_P, seed))
    by_difficulty: dict[str, Measure] = {kind: part.mean for kind, part in by_kind.items()}
    answers = [len({_answer(s.found) for s in samples[i : i + k]}) for i in range(0, len(samples), k)]
    return {
        "all_wrong": float((right_P == 0).mean()),
        "pass_at_k": passed.mean,
        "pass_low": passed.low,
        "pass_high": passed.high,
        "pass_curve": {j: float(pass_at_k(right_P, k, j).mean()) for j in powers_up_to(k)},
        "pass_by_difficulty": by_difficulty,
        "distinct_answers": sum(answers) / len(answers),
    }


def _answer(found: str | None) -> object:
    """What makes two answers one: the value of plain numbers, the text of others, and having none."""
    number = None if found is None else number_of(found)
    return found if number is None else number


def _device_name(device: torch.device) -> str:
    if device.type != "cuda":
        return device.type
    return f"{torch.cuda.get_device_name(device)}, CUDA {torch.version.cuda}"
