"""Everything that a GPU must show, unattended, in less than nine minutes: the 8B shape with random weights.

A randomly initialised LLaDA of 8B parameters, bf16, LoRA rank 128, G = 8, canvas 256, 128 steps. Stages, each written
to a file of `--out` as soon as it is done, so that the same command goes on where it was stopped or ran out of time:

  device    what the device achieves in matrix products: the floor of all others
  step      a full IGPO step by phase (rollout, rescue, logprob, update): seconds, tokens/s, peak memory, share of floor
  update    the shared forward against one forward per completion, same maths
  plain     the plain sampler: fp64 noise for the logits of all positions, G rows
  agreement tokens in which bf16 makes the exact sampler differ from the plain one, and from itself with half the rows
  dual, prefix   approximate sampling of `--cached-rows` rows, of half as many

At the end it prints every figure and the ratios. A stage whose estimate does not fit into what is left of `--minutes`
is left for the next call, and named. `--shape tiny --device cpu` runs the same path anywhere.
"""

import argparse
import sys
import time
from pathlib import Path

import torch
from gpu_stages.page import say_results
from gpu_stages.plan import Plan
from gpu_stages.stages import STAGES, Bench
from speed.clock import LEAST_REPEATS
from speed.ours import device_of
from speed.results import Report
from speed.shape import add_shape, shape_of


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_shape(parser, "llada-8b")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda", help="where it runs [%(default)s]")
    parser.add_argument("--repeats", type=int, default=LEAST_REPEATS, help="timed runs of each arm [%(default)s]")
    parser.add_argument("--cached-rows", type=int, default=32, help="rows of cached sampling [%(default)s]")
    parser.add_argument("--minutes", type=float, default=9.0, help="start no stage that would end later [%(default)s]")
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"), help="folder of the stages' files [%(default)s]")
    parser.add_argument("--results", type=Path, help="put what is printed into this page, as a section")
    return parser.parse_args(arguments)


def main() -> None:
    """Carry out what is missing, print what there is."""
    began = time.monotonic()
    arguments = parse()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        sys.exit("gpu.py needs an NVIDIA GPU and finds none; --shape tiny --device cpu tries its path on this machine")
    device = device_of(arguments.device)
    shape = shape_of(arguments)
    plan = Plan(arguments.out, f"{shape}; rank {shape.rank}, {device.type}", began + 60 * arguments.minutes)
    bench = Bench(shape, device, arguments.repeats, arguments.cached_rows)
    left = [name for name, stage in STAGES.items() if not plan.carry_out(name, lambda stage=stage: stage(bench))]
    report = Report()
    report.say(str(shape))
    say_results(report, shape, plan.results())
    if left:
        report.say(f"left for the next call, {arguments.minutes:g} minutes are over: {', '.join(left)}")
    command = "python benchmarks/gpu.py " + " ".join(sys.argv[1:])
    report.write(arguments.results, f"One GPU, shape {arguments.shape}", command)


if __name__ == "__main__":
    main()
