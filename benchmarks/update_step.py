"""Shared mean-field forward against one forward per completion: the same update, in how much less time.

IGPO scores a completion from one fully masked canvas (mean field), so the G completions of a prompt share their network
input. The trainer therefore runs one row per prompt and reads G tokens at each position. The baseline runs one row per
completion, as code does that treats completions alike whatever the estimator. Both are built here from the trainer's
own denoiser, scoring plans and objective, and differ only in their plans. A timed phase is what one rollout batch costs
after sampling: scores under π_old and π_ref, then μ times a forward and a backward pass with clipped ratios and k3 KL.
The optimizer's step, the same in both, is left out. π, π_old and π_ref are three networks, so ratios and KL matter.

First loss and gradients of a phase must agree, to 1e-6 with fp64 weights and to 1e-5 with fp32 (relative to the
larger of the loss and a mean advantage, and to the norm of each weight's gradient). Then the arms are timed in turns
with fp32 weights. The rows of a baseline may share a pass, so there are two: one row a pass, and the G rows of a prompt
in one. The last line is the time of the faster of these two over that of the shared forward, as `ratio: X.Y`; it cannot
exceed G by much.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from speed.clock import LEAST_REPEATS, in_turns, peaks, print_peak
from speed.network import FIRST_WORD, denoiser_of
from speed.results import Report
from speed.shape import Shape, add_shape, shape_of
from torch import Tensor

from igpo_trainer.diffusion.logprobs import GroupTokens, ScoringPlan, plan_scoring
from igpo_trainer.diffusion.noise import NoiseKey
from igpo_trainer.igpo.objective import GroupBatch, normaliser, objective
from igpo_trainer.models.denoiser import Denoiser
from igpo_trainer.models.lora import reference_policy
from igpo_trainer.spec.igpo import ObjectiveSpec

TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-5}


@dataclass(frozen=True)
class Work:
    """What is updated: three networks, some groups, and the objective."""

    current: Denoiser
    old: Denoiser
    reference: Denoiser | None
    """None: the current network with its adapters off."""
    groups: Sequence[GroupTokens]
    advantage_PG: Tensor
    spec: ObjectiveSpec
    temperature: float

    def reference_model(self) -> AbstractContextManager[Denoiser]:
        """Enter the reference policy."""
        return reference_policy(self.current) if self.reference is None else nullcontext(self.reference)

    @property
    def divisor(self) -> float:
        """Normaliser of the whole update."""
        lengths = torch.tensor([length for group in self.groups for length in group.lengths], dtype=torch.float64)
        return normaliser(lengths, torch.ones(len(lengths), dtype=torch.bool), self.spec)


@dataclass(frozen=True)
class MicroBatch:
    """Completions of one forward pass, as groups: of G completions (shared) or of one each (separate)."""

    groups: tuple[GroupTokens, ...]
    advantage_N: Tensor


def shared(work: Work) -> list[MicroBatch]:
    """One row per prompt; one pass per prompt."""
    return [MicroBatch((group,), work.advantage_PG[p]) for p, group in enumerate(work.groups)]


def separate(work: Work, rows: int) -> list[MicroBatch]:
    """One row per completion, `rows` of the same prompt in a pass."""
    batches = []
    for p, group in enumerate(work.groups):
        alone = [
            GroupTokens(group.prompt_ids, (ids,), (length,), group.key)
            for ids, length in zip(group.completions, group.lengths, strict=True)
        ]
        for start in range(0, len(alone), rows):
            part = slice(start, start + rows)
            batches.append(MicroBatch(tuple(alone[part]), work.advantage_PG[p, part]))
    return batches


def phase(work: Work, batches: Sequence[MicroBatch]) -> float:
    """Score, then μ updates' forward and backward passes; the last gradient stays. Returns the last loss."""
    with torch.no_grad():
        old = [score(work, work.old, batch)[0] for batch in batches]
        with work.reference_model() as model:
            reference = [score(work, model, batch)[0] for batch in batches]
    total = 0.0
    for _ in range(work.spec.inner_updates):
        work.current.zero_grad(set_to_none=True)
        total = 0.0
        for batch, old_RNL, reference_RNL in zip(batches, old, reference, strict=True):
            logp_RNL, plan = score(work, work.current, batch)
            result = objective(logp_RNL, group_batch(batch, plan, old_RNL, reference_RNL), work.spec)
            loss = result.loss / work.divisor
            loss.backward()
            total += loss.item()
    return total


def score(work: Work, denoiser: Denoiser, batch: MicroBatch) -> tuple[Tensor, ScoringPlan]:
    """Log-probabilities of a micro-batch's tokens, and their plan."""
    plan = plan_scoring(batch.groups, "MeanField", 1, denoiser.tokens).to(denoiser.device)
    scores = denoiser(
        plan.ids_BS, plan.attention_BS, plan.rows_M, plan.columns_M, plan.tokens_MK, temperature=work.temperature
    )
    return plan.place(scores.logp_MK), plan


def group_batch(batch: MicroBatch, plan: ScoringPlan, old_RNL: Tensor, reference_RNL: Tensor) -> GroupBatch:
    """Every token judged, kept and generated."""
    kept_NL = plan.weight_RNL[0] > 0
    lengths = [length for group in batch.groups for length in group.lengths]
    return GroupBatch(
        old_RNL=old_RNL,
        reference_RNL=reference_RNL,
        weight_RNL=plan.weight_RNL.to(old_RNL.dtype),
        kept_NL=kept_NL,
        hint_NL=torch.zeros_like(kept_NL),
        length_N=old_RNL.new_tensor(lengths),
        advantage_N=batch.advantage_N.to(old_RNL),
        judged_N=torch.ones(len(lengths), dtype=torch.bool, device=old_RNL.device),
    )


def assert_same_update(work: Work, dtype: torch.dtype) -> tuple[float, float]:
    """Loss and gradients of all arms agree; returns the largest relative errors of loss and gradient.

    One update is enough: no weight moves between the μ updates of a phase.
    """
    work = replace(work, spec=work.spec.model_copy(update={"inner_updates": 1}))
    for denoiser in (work.current, work.old, work.reference):
        if denoiser is not None:
            denoiser.to(dtype)
    loss = phase(work, shared(work))
    expected = {name: p.grad.clone() for name, p in work.current.named_parameters() if p.grad is not None}
    assert expected, "no weight has a gradient"
    loss_error = gradient_error = 0.0
    for rows in (1, len(work.groups[0].completions)):
        other = phase(work, separate(work, rows))
        # Advantages cancel in the loss: its own size says nothing about that of its terms.
        loss_error = max(loss_error, abs(loss - other) / max(abs(other), work.advantage_PG.abs().mean().item()))
        for name, parameter in work.current.named_parameters():
            if parameter.grad is not None:
                error = (parameter.grad - expected[name]).norm() / parameter.grad.norm()
                gradient_error = max(gradient_error, error.item())
    assert loss_error <= TOLERANCE[dtype], f"{dtype}: losses differ by {loss_error:.1e} of their terms"
    assert gradient_error <= TOLERANCE[dtype], f"{dtype}: gradients differ by {gradient_error:.1e} of their norm"
    return loss_error, gradient_error


def build(shape: Shape, device: torch.device, *, seed: int = 0) -> Work:
    """Make the networks, the completions (as many short ones as long ones) and advantages that sum to 0.

    With adapters there is one network: the old policy is the current one, the reference the same without adapters.
    """
    groups = groups_of(shape, seed)
    right_PG = (torch.arange(shape.group) % 4 == 0).double().expand(shape.prompts, shape.group)
    advantage_PG = right_PG - right_PG.mean(1, True)
    spec = ObjectiveSpec(inner_updates=shape.updates)
    if shape.rank:
        current = denoiser_of(shape, device, seed=seed, precision="BF16")
        return Work(current, current, None, groups, advantage_PG, spec, 1.0)
    current, old, reference = (denoiser_of(shape, device, seed=seed + place) for place in range(3))
    return Work(current, near(current, old), near(current, reference), groups, advantage_PG, spec, 1.0)


def groups_of(shape: Shape, seed: int) -> list[GroupTokens]:
    """Random completions, every other one a quarter shorter than the canvas."""
    mask_id, size, canvas = shape.vocabulary - 1, shape.group, shape.canvas
    torch.manual_seed(seed)
    groups = []
    for prompt in range(shape.prompts):
        lengths = tuple(canvas - (g % 2) * canvas // 4 for g in range(size))
        words = torch.randint(FIRST_WORD, mask_id, (size, canvas)).tolist()
        completions = tuple(
            (*row[: n - 1], *[FIRST_WORD] * (canvas - n + 1)) for row, n in zip(words, lengths, strict=True)
        )
        prompt_ids = tuple(torch.randint(FIRST_WORD, mask_id, (shape.prompt,)).tolist())
        groups.append(GroupTokens(prompt_ids, completions, lengths, NoiseKey(seed, "scoring", 1, prompt, 0)))
    return groups


def near(current: Denoiser, other: Denoiser) -> Denoiser:
    """`other` moved most of the way to `current`, so that few ratios are clipped."""
    with torch.no_grad():
        for mine, theirs in zip(current.parameters(), other.parameters(), strict=True):
            theirs.lerp_(mine, 0.8)
    return other.requires_grad_(False)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_shape(parser, "small")
    parser.add_argument(
        "--repeats", type=int, default=LEAST_REPEATS, help="timed phases of each arm, in turns [%(default)s]"
    )
    parser.add_argument("--threads", type=int, default=1, help="CPU threads, for all arms [%(default)s]")
    parser.add_argument("--seed", type=int, default=0, help="of weights and tokens [%(default)s]")
    parser.add_argument("--results", type=Path, help="put what is printed into this page, as a section")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def arms_of(work: Work) -> dict[str, Callable[[], object]]:
    """The baselines and, last, the shared forward."""
    size = len(work.groups[0].completions)
    batches = {
        "separate, 1 row a pass": separate(work, 1),
        f"separate, {size} rows a pass": separate(work, size),
        "shared": shared(work),
    }
    return {name: partial(phase, work, theirs) for name, theirs in batches.items()}


def main() -> None:
    """Check, time, print."""
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    shape, device = replace(shape_of(arguments), rank=0), torch.device("cpu")
    work = build(shape, device, seed=arguments.seed)
    if arguments.peak:
        print_peak(arms_of(work)[arguments.peak])
        return
    report = Report()
    for dtype in (torch.float64, torch.float32):  # the last one is timed
        loss_error, gradient_error = assert_same_update(work, dtype)
        report.say(f"{dtype}: same loss (relative error {loss_error:.0e}) and gradients ({gradient_error:.0e})")
    arms = arms_of(work)
    seconds = in_turns(arms, arguments.repeats, device)
    report.say(str(shape))
    report.say(f"{'one update phase':28}{'median s':>10}{'min s':>10}{'max s':>10}{'ratio':>8}")
    fast = seconds["shared"].median
    for name, taken in seconds.items():
        report.say(f"{name:28}{taken}{taken.median / fast:8.1f}")
    memory = peaks(list(arms), sys.argv)
    for name, bytes_taken in memory.items():
        report.say(f"{name:28}peak memory above the networks {bytes_taken['above'] / 2**20:8.0f} MiB")
    *baselines, _ = seconds
    faster = min(baselines, key=lambda name: seconds[name].median)
    report.say(f"memory, {faster} / shared: {memory[faster]['above'] / max(1, memory['shared']['above']):.1f}")
    report.say(f"ratio: {seconds[faster].median / fast:.1f}")
    command = "python benchmarks/update_step.py " + " ".join(sys.argv[1:])
    report.write(arguments.results, f"Update, shape {arguments.shape}", command)


if __name__ == "__main__":
    main()
