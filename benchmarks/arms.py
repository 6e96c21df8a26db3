"""IGPO against Resample and GRPO on the demo's task, from one SFT checkpoint per seed.

Reads a manifest with SFT documents and one IGPOTraining document. For every seed it runs the SFT documents once and,
from their result, the IGPOTraining document as IGPO, Resample and GRPO. Everything goes through `igpo run`, so that a
call after Ctrl-C continues and finished runs are left alone. Each arm is measured before its first and after its last
step on the same held-out problems: several samples at the training temperature, and greedily. From the journals it then
writes the page with all figures and a chart. Exit code 1 if a promise of the page is not kept.
"""

import argparse
import os
from pathlib import Path

from arm_runs.overlap import overlap_text, separate
from arm_runs.schedule import run_all
from arm_runs.script import run_script
from demo_arms.chart import all_wrong_svg
from demo_arms.page import Results, arms_table, leads_table, page, verdict
from demo_arms.plan import write_plans
from demo_arms.scores import bars, read_arms

ROOT = Path(__file__).parents[1]


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--manifest", type=Path, default=ROOT / "examples" / "igpo-run.yaml", help="what is run [%(default)s]"
    )
    parser.add_argument("--out", type=Path, default=Path("runs-arms"), help="folder of all runs [%(default)s]")
    parser.add_argument(
        "--results",
        type=Path,
        default=ROOT / "docs" / "results.md",
        help="page that is written; its chart goes to images/ beside it [%(default)s]",
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2), help="seeds to run [0 1 2]")
    parser.add_argument("--problems", type=int, default=400, help="held-out problems [%(default)s]")
    parser.add_argument(
        "--samples", type=int, default=8, help="samples per held-out problem at the training temperature [%(default)s]"
    )
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each [%(default)s]")
    arguments = parser.parse_args()
    for name in ("problems", "samples", "jobs"):
        if getattr(arguments, name) < 1:
            parser.error(f"--{name} {getattr(arguments, name)} is below 1; give 1 or more")
    return arguments


def main() -> int:
    """Run, measure, write, judge."""
    arguments = parse()
    plans = write_plans(
        arguments.manifest,
        arguments.out / "manifests",
        list(dict.fromkeys(arguments.seeds)),
        problems=arguments.problems,
        samples=arguments.samples,
    )
    overlaps = [separate(plan.jobs, plan.seed) for plan in plans]
    run_all([job for plan in plans for job in plan.jobs], arguments.out, arguments.jobs)
    seeds = [read_arms(plan, arguments.out, arguments.samples) for plan in plans]
    results = Results(
        manifest=Path(os.path.relpath(arguments.manifest, ROOT)),
        plans=plans,
        seeds=seeds,
        overlaps=overlaps,
        bars=bars(seeds),
        samples=arguments.samples,
        jobs=arguments.jobs,
    )
    chart = arguments.results.parent / "images" / "arms.svg"
    chart.parent.mkdir(parents=True, exist_ok=True)
    chart.write_text(all_wrong_svg(seeds), encoding="utf-8")
    arguments.results.write_text(page(results, "images/arms.svg"), encoding="utf-8")
    for part in (overlap_text(overlaps), arms_table(results), leads_table(results), verdict(results.bars)):
        print(f"\n{part}")
    print(f"\nwritten: {arguments.results}, {chart}")
    return 0 if all(bar.passed for bar in results.bars) else 1


if __name__ == "__main__":
    run_script("arms", main)
