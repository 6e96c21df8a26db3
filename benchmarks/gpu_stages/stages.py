"""What each stage measures. Every one builds the network anew, so that a stage alone can be done after a stop."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
import update_step
from speed.clock import in_turns, seconds_of
from speed.floor import achieved_flops
from speed.network import denoiser_of, problems_of, requests_of
from speed.ours import TrainersStep, spec_of
from speed.plain import fresh_noise, keyed_noise, plain_sample
from speed.shape import Shape

from igpo_trainer.diffusion.canvas import CanvasRequest, Completion
from igpo_trainer.diffusion.sampler import sample
from igpo_trainer.models.denoiser import Denoiser
from igpo_trainer.models.memory import release_memory
from igpo_trainer.rewards.judge import Judge
from igpo_trainer.spec.sampling import SamplingSpec


@dataclass(frozen=True)
class Bench:
    """What is measured, and how often."""

    shape: Shape
    device: torch.device
    repeats: int
    cached_rows: int

    def clear(self) -> None:
        """Give back what an earlier stage left on the device."""
        release_memory(self.device)
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)

    def model(self) -> Denoiser:
        """The network, on a clear device."""
        self.clear()
        return denoiser_of(self.shape, self.device, precision="BF16")

    def sampling(self, cache: str = "None") -> SamplingSpec:
        """The trainer's sampling of the shape."""
        return spec_of(self.shape, cache=cache).sampling

    def short(self) -> SamplingSpec:
        """The same with one step a block."""
        spec = self.sampling()
        return spec.model_copy(update={"steps": spec.blocks})

    def group(self) -> list[CanvasRequest]:
        """The G requests of one prompt."""
        return requests_of(problems_of(self.shape)[:1], self.shape.group, "benchmark")

    def peak(self) -> int:
        """Peak bytes on the GPU since `model`; 0 on a CPU."""
        return torch.cuda.max_memory_allocated(self.device) if self.device.type == "cuda" else 0


def device_stage(bench: Bench) -> dict[str, Any]:
    """Operations per second of the largest product the floor assumes."""
    on_gpu = bench.device.type == "cuda"
    size, dtype = (8192, torch.bfloat16) if on_gpu else (256, torch.float32)
    name = torch.cuda.get_device_name(bench.device) if on_gpu else "cpu"
    return {"name": name, "flops": achieved_flops(bench.device, size, dtype)}


def step_stage(bench: Bench) -> dict[str, Any]:
    """Full steps by phase; a few denoising steps come first and are not counted."""
    model, problems = bench.model(), problems_of(bench.shape)
    sample(model, requests_of(problems, bench.shape.group, "warm-up"), bench.short(), rows=bench.shape.group)
    with Judge() as judge:
        step = TrainersStep(model, bench.shape, spec_of(bench.shape), problems, judge)
        runs = [step.run(turn + 1) for turn in range(bench.repeats)]
    return {
        "phases": {phase: [run[phase] for run in runs] for phase in runs[0]},
        "peak": bench.peak(),
        "rollout_rows": step.sizes.rollout_rows,
        "update_rows": step.sizes.update_rows,
    }


def update_stage(bench: Bench) -> dict[str, Any]:
    """Scores and μ updates of the shape's groups: shared forwards, and one forward a completion."""
    bench.clear()
    work = update_step.build(bench.shape, bench.device)
    arms = {
        "separate": partial(update_step.phase, work, update_step.separate(work, 1)),
        "shared": partial(update_step.phase, work, update_step.shared(work)),
    }
    for run in arms.values():
        run()
    taken = in_turns(arms, bench.repeats, bench.device)
    return {name: list(theirs.runs) for name, theirs in taken.items()}


def plain_stage(bench: Bench) -> dict[str, Any]:
    """Some steps of the plain sampler, G rows of one prompt; seconds are scaled to all steps: each costs the same."""
    model, requests = bench.model(), bench.group()
    run = partial(plain_sample, model, requests, bench.short(), fresh_noise)
    run()
    scale = bench.shape.steps / bench.short().steps
    runs = [scale * seconds_of(run, bench.device) for _ in range(bench.repeats)]
    return {"runs": runs, "rows": len(requests), "timed_steps": bench.short().steps, "peak": bench.peak()}


def agreement_stage(bench: Bench) -> dict[str, Any]:
    """Tokens in which the trainer's exact sampler differs from the plain one, and from itself with half the rows.

    All three have the same noise in fp64; bf16 products of other batch shapes are rounded otherwise.
    """
    model, requests = bench.model(), bench.group()
    plain = plain_sample(model, requests, bench.short(), keyed_noise(requests))
    whole, halves = (
        sample(model, requests, bench.short(), rows=rows, noise_dtype=torch.float64)
        for rows in (len(requests), max(1, len(requests) // 2))
    )
    return {
        "tokens": len(requests) * bench.shape.canvas,
        "plain": _differing(whole, plain),
        "half": _differing(whole, halves),
    }


def cached_stage(bench: Bench, cache: str, rows: int) -> dict[str, Any]:
    """Approximate sampling of `rows` rows."""
    model = bench.model()
    problems = problems_of(replace(bench.shape, prompts=math.ceil(rows / bench.shape.group)))
    requests = requests_of(problems, bench.shape.group, "benchmark")[:rows]
    spec = bench.sampling(cache)
    sample(model, requests, spec.model_copy(update={"steps": 2 * spec.blocks}), rows=rows)
    run = partial(sample, model, requests, spec, rows=rows)
    runs = [seconds_of(run, bench.device) for _ in range(bench.repeats)]
    return {"runs": runs, "rows": rows, "peak": bench.peak()}


def _differing(ours: list[Completion], theirs: list[Completion]) -> int:
    return sum(a != b for x, y in zip(ours, theirs, strict=True) for a, b in zip(x.ids, y.ids, strict=True))


STAGES: dict[str, Callable[[Bench], dict[str, Any]]] = {
    "device": device_stage,
    "step": step_stage,
    "update": update_stage,
    "plain": plain_stage,
    "agreement": agreement_stage,
    "dual": lambda bench: cached_stage(bench, "Dual", bench.cached_rows),
    "prefix": lambda bench: cached_stage(bench, "Prefix", max(1, bench.cached_rows // 2)),
}
"""In the order of what is wanted most."""
