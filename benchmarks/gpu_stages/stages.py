"""What each stage measures. Every one builds the network anew, so that a stage alone can be done after a stop."""

import gc
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
from speed.plain import fresh_noise, plain_sample
from speed.shape import Shape

from igpo_trainer.diffusion.sampler import sample
from igpo_trainer.models.denoiser import Denoiser
from igpo_trainer.rewards.judge import Judge
from igpo_trainer.spec.sampling import SamplingSpec

PLAIN_STEPS_A_BLOCK = 1
"""Steps of the plain sampler that are timed, of each block; every step of it costs the same."""


@dataclass(frozen=True)
class Bench:
    """What is measured, and how often."""

    shape: Shape
    device: torch.device
    repeats: int
    cached_rows: int

    def model(self) -> Denoiser:
        """The network; what an earlier stage left on the device is given back first."""
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)
        return denoiser_of(self.shape, self.device, precision="BF16")

    def sampling(self, cache: str = "None") -> SamplingSpec:
        """The trainer's sampling of the shape."""
        return spec_of(self.shape, cache=cache).sampling

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
    """Full steps by phase, after one that is not counted."""
    with Judge() as judge:
        step = TrainersStep(bench.model(), bench.shape, spec_of(bench.shape), problems_of(bench.shape), judge)
        step.run(1)
        runs = [step.run(turn + 2) for turn in range(bench.repeats)]
    sizes = step.sizes
    return {
        "phases": {phase: [run[phase] for run in runs] for phase in runs[0]},
        "peak": bench.peak(),
        "rollout_rows": sizes.rollout_rows,
        "update_rows": sizes.update_rows,
    }


def update_stage(bench: Bench) -> dict[str, Any]:
    """Scores and μ updates of the shape's groups: shared forwards, and one forward a completion."""
    bench.model()  # gives memory back; `build` makes its own
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
    """Some steps of the plain sampler, G rows of one prompt; seconds are scaled to all steps."""
    model, requests = bench.model(), requests_of(problems_of(bench.shape)[:1], bench.shape.group, "benchmark")
    spec = bench.sampling()
    short = spec.model_copy(update={"steps": PLAIN_STEPS_A_BLOCK * spec.blocks})
    run = partial(plain_sample, model, requests, short, fresh_noise)
    run()
    runs = [seconds_of(run, bench.device) * spec.steps / short.steps for _ in range(bench.repeats)]
    return {"runs": runs, "rows": len(requests), "timed_steps": short.steps, "peak": bench.peak()}


def exact_stage(bench: Bench) -> dict[str, Any]:
    """The trainer's sampler on the plain one's rows, and the share of tokens that half the batch size changes."""
    found = _sampler_stage(bench, "None", bench.shape.group)
    model, requests = bench.model(), requests_of(problems_of(bench.shape)[:1], bench.shape.group, "benchmark")
    short = bench.sampling().model_copy(update={"steps": bench.sampling().blocks})
    whole, halves = (sample(model, requests, short, rows=rows) for rows in (len(requests), max(1, len(requests) // 2)))
    pairs = zip(whole, halves, strict=True)
    return found | {"changed": sum(a != b for x, y in pairs for a, b in zip(x.ids, y.ids, strict=True))}


def _sampler_stage(bench: Bench, cache: str, rows: int) -> dict[str, Any]:
    model = bench.model()
    problems = problems_of(replace(bench.shape, prompts=max(1, rows // bench.shape.group)))
    requests = requests_of(problems, bench.shape.group, "benchmark")[:rows]
    spec = bench.sampling(cache)
    sample(model, requests, spec.model_copy(update={"steps": spec.blocks}), rows=len(requests))
    runs = [
        seconds_of(lambda: sample(model, requests, spec, rows=len(requests)), bench.device)
        for _ in range(bench.repeats)
    ]
    return {"runs": runs, "rows": len(requests), "peak": bench.peak()}


STAGES: dict[str, Callable[[Bench], dict[str, Any]]] = {
    "device": device_stage,
    "step": step_stage,
    "update": update_stage,
    "plain": plain_stage,
    "exact": exact_stage,
    "prefix": lambda bench: _sampler_stage(bench, "Prefix", bench.cached_rows),
    "dual": lambda bench: _sampler_stage(bench, "Dual", bench.cached_rows),
}
"""In the order of what is wanted most."""
