"""The figures of all finished stages: by phase, tokens a second, memory, share of the floor, ratios last."""

import statistics
from collections.abc import Mapping
from typing import Any

from speed.floor import rollout_flops, update_flops
from speed.results import Report
from speed.shape import Shape

Results = Mapping[str, Mapping[str, Any]]
CACHES = {"prefix": "Prefix", "dual": "Dual"}


def say_results(report: Report, shape: Shape, results: Results) -> None:
    """Print what there is; a stage that is missing leaves out its lines."""
    flops = results["device"]["flops"] if "device" in results else None
    if flops:
        report.say(
            f"{results['device']['name']}: {flops / 1e12:.3g} TFLOP/s in large matrix products, the floor of all"
        )
    if "step" in results:
        _say_step(report, shape, results["step"], flops)
    for name in ("plain", *CACHES):
        if name in results:
            _say_sampler(report, shape, name, results[name], flops)
    if "agreement" in results:
        found = results["agreement"]
        plain, half = (100 * found[name] / found["tokens"] for name in ("plain", "half"))
        report.say(f"exact sampler: {plain:.2f} % of tokens differ from plain, {half:.2f} % with half the rows")
    if "update" in results:
        for arm in ("separate", "shared"):
            report.say(f"update, {arm:10} {statistics.median(results['update'][arm]):10.3f} s")
    _say_ratios(report, shape, results)


def _say_step(report: Report, shape: Shape, step: Mapping[str, Any], flops: float | None) -> None:
    phases = {phase: statistics.median(runs) for phase, runs in step["phases"].items()}
    completions = shape.group * shape.prompts
    update = shape.prompts * update_flops(shape)
    scores = 2 / (2 + shape.updates * (2 if shape.rank else 3))
    floors = {
        "rollout": completions * rollout_flops(shape),
        "rescue": completions * rollout_flops(shape),
        "logprob": update * scores,
        "update": update * (1 - scores),
    }
    report.say(f"full step, {step['rollout_rows']} rollout rows, {step['update_rows']} groups a pass:")
    for phase, seconds in phases.items():
        rate = f", {completions * shape.canvas / seconds:8.1f} tokens/s" if phase in ("rollout", "rescue") else ""
        share = f", {100 * floors[phase] / flops / seconds:5.1f} % of the floor" if flops else ""
        report.say(f"  {phase:10}{seconds:10.3f} s{share}{rate}")
    total = sum(phases.values())
    share = f", {100 * sum(floors.values()) / flops / total:5.1f} % of the floor" if flops else ""
    report.say(f"  {'step':10}{total:10.3f} s{share}, peak memory {step['peak'] / 2**30:.1f} GiB")


def _say_sampler(report: Report, shape: Shape, name: str, found: Mapping[str, Any], flops: float | None) -> None:
    seconds, rows = statistics.median(found["runs"]), found["rows"]
    line = f"sampler, {name:7}{rows:4} rows {seconds:10.3f} s, {rows * shape.canvas / seconds:8.1f} tokens/s"
    if flops and name in CACHES:
        line += f", {100 * rows * rollout_flops(shape, CACHES[name]) / flops / seconds:5.1f} % of the floor"
    line += f", peak memory {found['peak'] / 2**30:.1f} GiB"
    if "timed_steps" in found:
        line += f" (from {found['timed_steps']} steps)"
    report.say(line)


def _say_ratios(report: Report, shape: Shape, results: Results) -> None:
    a_row = {
        name: statistics.median(results[name]["runs"]) / results[name]["rows"]
        for name in ("prefix", "dual")
        if name in results
    }
    if "step" in results:
        a_row["exact"] = statistics.median(results["step"]["phases"]["rollout"]) / (shape.group * shape.prompts)
    if "plain" in results:
        plain = statistics.median(results["plain"]["runs"]) / results["plain"]["rows"]
        for name, seconds in a_row.items():
            report.say(f"rollouts, plain / {name}: {plain / seconds:.1f} a row")
    if "update" in results:
        separate, shared = (statistics.median(results["update"][arm]) for arm in ("separate", "shared"))
        report.say(f"update, one forward per completion / shared: {separate / shared:.1f}")
