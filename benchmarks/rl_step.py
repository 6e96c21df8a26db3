"""A whole RL step against the released recipe's path: rollouts, rescue, log-probabilities and μ updates, by phase.

Both arms train one randomly initialised bidirectional Llama on the same problems. The plain arm (`speed/plain.py`) is
written for this comparison after the recipe's released code: one prompt at a time, fp64 Gumbel noise for the logits of
all positions, every completion a row of its own in scoring and update, old and reference log-probabilities once for
each of the μ updates. The other is the trainer's: its sampler, judge, rescue, scores and updates, `batching: Auto`.
Beside them the trainer's with the dual cache, which is approximate. Random words answer nothing, so every group is all
wrong and both arms also sample its G hinted rollouts; the update then carries the KL alone, which costs the same.

The arms run in turns. `--growth` varies prompts, canvas, vocabulary and G instead, one at a time. The last line is the
plain arm's median time over the trainer's, as `ratio: X.Y`.
"""

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from speed.clock import LEAST_REPEATS, Seconds, peaks, print_peak
from speed.network import denoiser_of, problems_of
from speed.ours import TrainersStep, device_of, spec_of
from speed.plain import PlainStep
from speed.results import Report
from speed.shape import Shape, add_shape, shape_of

from igpo_trainer.rewards.judge import Judge

PLAIN, OURS, DUAL = "plain", "trainer", "trainer, dual cache"
ARMS = (PLAIN, OURS, DUAL)
PHASES = ("rollout", "rescue", "logprob", "update", "step")
Step = Callable[[int], dict[str, float]]
GROWN = ("prompts", "canvas", "vocabulary", "group")


def step_of(arm: str, shape: Shape, device: torch.device, judge: Judge) -> Step:
    """One arm with a network of its own."""
    problems = problems_of(shape)
    model = denoiser_of(shape, device, precision="BF16" if shape.rank else "FP32")
    spec = spec_of(shape, **({"cache": "Dual"} if arm == DUAL else {}))
    if arm == PLAIN:
        return PlainStep(model, shape, spec.sampling, problems).run
    return TrainersStep(model, shape, spec, problems, judge).run


def timed(steps: Mapping[str, Step], repeats: int, *, warm_up: bool = True) -> dict[str, dict[str, Seconds]]:
    """Seconds by arm and phase; "step" is their sum. One more step of each arm comes first and is not counted."""
    runs: dict[str, list[dict[str, float]]] = {arm: [] for arm in steps}
    for turn in range(-1 if warm_up else 0, repeats):
        for arm, step in steps.items():
            spent = step(turn + 2)
            if turn >= 0:
                runs[arm].append(spent | {"step": sum(spent.values())})
    return {
        arm: {phase: Seconds(tuple(run[phase] for run in theirs)) for phase in PHASES} for arm, theirs in runs.items()
    }


def say_phases(report: Report, seconds: Mapping[str, Mapping[str, Seconds]]) -> None:
    """Median seconds by phase and arm."""
    report.say(f"{'median s':10}" + "".join(f"{arm:>22}" for arm in seconds))
    for phase in PHASES:
        report.say(f"{phase:10}" + "".join(f"{theirs[phase].median:22.3f}" for theirs in seconds.values()))
    spread = [f"{min(theirs['step'].runs):.3f}–{max(theirs['step'].runs):.3f}" for theirs in seconds.values()]
    report.say(f"{'min–max':10}" + "".join(f"{text:>22}" for text in spread))


def say_ratios(report: Report, seconds: Mapping[str, Mapping[str, Seconds]]) -> None:
    """Plain over trainer, the whole step last."""
    plain = seconds[PLAIN]
    for arm in (DUAL, OURS):
        ours = seconds[arm]
        rollouts = (plain["rollout"].median + plain["rescue"].median) / (ours["rollout"].median + ours["rescue"].median)
        updates = (plain["logprob"].median + plain["update"].median) / (ours["logprob"].median + ours["update"].median)
        whole = plain["step"].median / ours["step"].median
        report.say(f"plain / {arm}: rollouts {rollouts:.1f}, scores and updates {updates:.1f}, step {whole:.1f}")
    report.say(f"ratio: {plain['step'].median / seconds[OURS]['step'].median:.1f}")


def say_growth(report: Report, shape: Shape, factors: list[int], repeats: int, judge: Judge) -> None:
    """Step time of plain and trainer while one size grows and the others stay."""
    device = torch.device("cpu")
    report.say(f"base: {shape}")
    report.say(f"{'':12}{'':>8}{'plain s':>10}{'trainer s':>11}{'rollouts':>10}{'updates':>9}{'step':>7}   (ratios)")
    for name in GROWN:
        for factor in factors:
            grown = replace(shape, **{name: getattr(shape, name) * factor})
            if name == "canvas":
                grown = replace(grown, steps=shape.steps * factor)
            steps = {arm: step_of(arm, grown, device, judge) for arm in (PLAIN, OURS)}
            plain, ours = timed(steps, repeats).values()
            ratios = [
                sum(plain[p].median for p in phases) / sum(ours[p].median for p in phases)
                for phases in (("rollout", "rescue"), ("logprob", "update"), ("step",))
            ]
            report.say(
                f"{name:12}{getattr(grown, name):>8}{plain['step'].median:>10.3f}{ours['step'].median:>11.3f}"
                f"{ratios[0]:>10.1f}{ratios[1]:>9.1f}{ratios[2]:>7.1f}"
            )


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_shape(parser, "small")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where both arms run [%(default)s]")
    parser.add_argument("--repeats", type=int, default=LEAST_REPEATS, help="timed steps of each arm [%(default)s]")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads, for all arms [%(default)s]")
    parser.add_argument(
        "--growth", type=int, nargs="+", metavar="FACTOR", help="vary each size by these, for example 1 2 4"
    )
    parser.add_argument("--results", type=Path, help="put what is printed into this page, as a section")
    parser.add_argument("--peak", choices=ARMS, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main() -> None:
    """Time, print."""
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    shape, device = shape_of(arguments), device_of(arguments.device)
    with Judge() as judge:
        if arguments.peak:  # the most memory is taken in the first step of a block, and by any update
            short = replace(shape, steps=shape.canvas // shape.block, updates=1)
            step = step_of(arguments.peak, short, device, judge)
            print_peak(lambda: step(1))
            return
        report = Report()
        command = "python benchmarks/rl_step.py " + " ".join(sys.argv[1:])
        if arguments.growth:
            say_growth(report, shape, arguments.growth, arguments.repeats, judge)
            report.write(arguments.results, "RL step, growth", command)
            return
        report.say(str(shape))
        seconds = timed({arm: step_of(arm, shape, device, judge) for arm in ARMS}, arguments.repeats)
        say_phases(report, seconds)
        if device.type == "cpu":
            memory = peaks(ARMS, sys.argv)
            for arm in ARMS:
                above, process = (memory[arm][part] / 2**20 for part in ("above", "process"))
                report.say(f"peak memory, {arm:20}{above:8.0f} MiB above the model, {process:8.0f} MiB in all")
            report.say(f"memory, plain / trainer: {memory[PLAIN]['process'] / memory[OURS]['process']:.1f} in all")
        say_ratios(report, seconds)
        report.write(arguments.results, f"RL step, shape {arguments.shape}", command)


if __name__ == "__main__":
    main()
