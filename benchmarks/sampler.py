"""Exact sampler against the plain one: the same tokens, in how much less time. Approximate ones beside them.

The plain sampler is LLaDA's published generate.py, batched: in every step it takes the logits of the whole sequence,
copies them to fp64, draws fp64 Gumbel noise for all of them, and runs every step of every row. The exact sampler is the
trainer's. Both use one randomly initialised bidirectional Llama, which never stops early: what an end token would save
on top is not part of the ratio. First both run once with fp64 weights, prompts of mixed lengths and the same keyed fp64
noise (a vocabulary of 4096 at most), and their tokens must be equal; then they are timed in turns with fp32 weights.
The last lines are plain time over that of each sampler, the exact one's (fp32 noise, the trainer's default) as
`ratio: X.Y` at the end.

The prefix and the dual cache are approximate: their line says how many tokens differ from the exact ones. With random
weights that says little about quality, so `--manifest FILE` measures accuracy instead of time alone: the evaluation
sets of the manifest's last run by each sampler, with the weights of `--model` (default: those its run in `--runs` ended
with).
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from speed.clock import LEAST_REPEATS, in_turns, peaks, print_peak
from speed.network import denoiser_of, problems_of, requests_of
from speed.plain import fresh_noise, keyed_noise, plain_sample
from speed.results import Report
from speed.shape import Shape, add_shape, shape_of

from igpo_trainer.diffusion.canvas import CanvasRequest, Completion
from igpo_trainer.diffusion.sampler import ForwardCount, sample
from igpo_trainer.loop.measure import Subject, measure
from igpo_trainer.models.denoiser import Denoiser
from igpo_trainer.spec.manifest import load_manifest
from igpo_trainer.spec.sampling import SamplingSpec

CPU = torch.device("cpu")
CHECKED_VOCABULARY = 4096
"""The largest vocabulary that both samplers are compared with: in fp64 a larger one takes minutes and shows no more."""


def sampling_of(shape: Shape, temperature: float) -> SamplingSpec:
    """The exact sampling of a shape."""
    return SamplingSpec(
        completion_length=shape.canvas, block_length=shape.block, steps=shape.steps, temperature=temperature
    )


def assert_same_tokens(shape: Shape, spec: SamplingSpec, seed: int) -> None:
    """Both samplers, fp64 weights, the same fp64 noise, prompts of mixed lengths: the same completions."""
    shape = replace(shape, prompts=max(2, shape.prompts), vocabulary=min(shape.vocabulary, CHECKED_VOCABULARY), rank=0)
    model = denoiser_of(shape, CPU, seed=seed).double()
    requests = requests_of(problems_of(shape, seed, mixed=True), 1, "benchmark")
    spec = spec.model_copy(update={"steps": min(spec.steps, 2 * spec.blocks)})
    exact = sample(model, requests, spec, rows=len(requests), noise_dtype=torch.float64)
    plain = plain_sample(model, requests, spec, keyed_noise(requests))
    assert exact == plain, "the exact sampler chose other tokens than the plain one"


def approximate(spec: SamplingSpec, threshold: float) -> dict[str, SamplingSpec]:
    """Name the samplings that give other tokens than `spec`, faster."""
    changes: dict[str, dict[str, object]] = {
        "prefix cache": {"cache": "Prefix"},
        "dual cache": {"cache": "Dual"},
        "dual + threshold": {"cache": "Dual", "confidence_threshold": threshold},
    }
    return {name: spec.model_copy(update=change) for name, change in changes.items()}


def say_agreement(
    report: Report, model: Denoiser, requests: list[CanvasRequest], samplings: dict[str, SamplingSpec]
) -> None:
    """What each sampling costs in forwards and columns, and how many of its tokens are not the exact sampler's."""
    exact: list[Completion] = []
    for name, spec in samplings.items():
        count = ForwardCount()
        completions = sample(model, requests, spec, rows=len(requests), count=count)
        exact = exact or completions
        ours, theirs = (torch.tensor([completion.ids for completion in side]) for side in (completions, exact))
        differing = (ours != theirs).float().mean().item()
        report.say(
            f"{name:20}{count.whole:5} whole and {count.windows:5} partial forwards, {count.columns:9} columns, "
            f"{100 * differing:5.1f} % of tokens differ from the exact ones"
        )


def measure_quality(arguments: argparse.Namespace, report: Report) -> None:
    """Accuracy and time of every sampling on the manifest's evaluation sets, the same weights and seeds."""
    document = load_manifest(arguments.manifest)[-1]
    exact = document.spec.sampling.model_copy(update={"cache": "None", "confidence_threshold": None})
    report.say(f"{'':20}{'data set':24}{'accuracy':>9}{'95 % interval':>16}{'seconds':>9}{'tokens/s':>10}")
    for name, sampling in {"exact": exact, **approximate(exact, arguments.threshold)}.items():
        spec = document.spec.model_copy(update={"sampling": sampling})
        for record in measure(Subject(replace(document, spec=spec), arguments.runs, arguments.model)):
            seconds = record.time.seconds
            rate = record.problems * record.samples * sampling.completion_length / seconds
            interval = f"{100 * (record.interval_low or 0):.1f}–{100 * (record.interval_high or 0):.1f} %"
            share = f"{100 * (record.accuracy or 0):.1f} %"
            report.say(f"{name:20}{record.dataset:24}{share:>9}{interval:>16}{seconds:9.1f}{rate:10.1f}")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_shape(parser, "small")
    parser.add_argument("--temperature", type=float, default=1.2, help="Gumbel noise temperature [%(default)s]")
    parser.add_argument(
        "--repeats", type=int, default=LEAST_REPEATS, help="timed runs of each sampler, in turns [%(default)s]"
    )
    parser.add_argument("--threads", type=int, default=1, help="CPU threads, for all samplers [%(default)s]")
    parser.add_argument("--threshold", type=float, default=0.9, help="confidence threshold [%(default)s]")
    parser.add_argument("--manifest", type=Path, help="measure accuracy on this run's evaluation sets instead")
    parser.add_argument("--model", type=Path, help="the weights for --manifest, a model folder")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of all runs [%(default)s]")
    parser.add_argument("--seed", type=int, default=0, help="of weights, prompts and noise [%(default)s]")
    parser.add_argument("--results", type=Path, help="put what is printed into this page, as a section")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def samplers_of(
    model: Denoiser, requests: list[CanvasRequest], spec: SamplingSpec, threshold: float
) -> dict[str, Callable[[], object]]:
    """Every sampler by its name, the plain one first and the trainer's default second."""
    rows = len(requests)
    return {
        "plain, fp64 noise": lambda: plain_sample(model, requests, spec, fresh_noise),
        "exact, fp32 noise": lambda: sample(model, requests, spec, rows=rows),
        "exact, fp64 noise": lambda: sample(model, requests, spec, rows=rows, noise_dtype=torch.float64),
        **{
            name: partial(sample, model, requests, changed, rows=rows)
            for name, changed in approximate(spec, threshold).items()
        },
    }


def main() -> None:
    """Check, time, print."""
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    shape = shape_of(arguments)
    command = "python benchmarks/sampler.py " + " ".join(sys.argv[1:])
    if arguments.manifest is not None:
        report = Report()
        measure_quality(arguments, report)
        report.write(arguments.results, f"Samplers, accuracy on {arguments.manifest.name}", command)
        return
    model = denoiser_of(replace(shape, rank=0), CPU, seed=arguments.seed)
    spec = sampling_of(shape, arguments.temperature)
    requests = requests_of(problems_of(shape, arguments.seed), shape.group, "benchmark")
    if arguments.peak:  # the most memory is taken in the first step: one a block shows it
        short = spec.model_copy(update={"steps": spec.blocks})
        print_peak(samplers_of(model, requests, short, arguments.threshold)[arguments.peak])
        return
    report = Report()
    report.say(f"{len(requests)} completions of: {shape}")
    assert_same_tokens(shape, spec, arguments.seed)
    report.say("exact = plain: the same tokens with fp64 weights, fp64 noise and prompts of mixed lengths")
    say_agreement(report, model, requests, {"exact, fp32 noise": spec, **approximate(spec, arguments.threshold)})
    samplers = samplers_of(model, requests, spec, arguments.threshold)
    seconds = in_turns(samplers, arguments.repeats, CPU)
    plain, *others = samplers
    compared = [plain, "exact, fp32 noise", "dual cache"]
    report.say(f"{'':20}{'median s':>10}{'min s':>10}{'max s':>10}{'tokens/s':>10}")
    for name, taken in seconds.items():
        report.say(f"{name:20}{taken}{len(requests) * spec.completion_length / taken.median:10.1f}")
    memory = peaks(compared, sys.argv)
    for name, bytes_taken in memory.items():
        report.say(f"{name:20}peak memory above the model {bytes_taken['above'] / 2**20:8.0f} MiB")
    for name in compared[1:]:
        report.say(f"memory, plain / {name}: {memory[plain]['above'] / max(1, memory[name]['above']):.1f}")
    for name in reversed(others):
        report.say(f"plain / {name}: {seconds[plain].median / seconds[name].median:.1f}")
    report.say(f"ratio: {seconds[plain].median / seconds[compared[1]].median:.1f}")
    report.write(arguments.results, f"Samplers, shape {arguments.shape}", command)


if __name__ == "__main__":
    main()
