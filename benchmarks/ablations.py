"""Ablations on the built-in task, by steps and tokens: {rewritten, originals} x {IGPO, Resample, GRPO}, η = 1, τ = 1.

Reads a manifest with a chain of SFT documents, the last of them on verbose traces, and one IGPOTraining document. For
every seed the verbose traces are rewritten by a teacher (the small HTTP server of tests/teacher, started here) or taken
as they are on a longer canvas, with as many updates or with as many tokens; from each result start the RL arms, η = 1
and τ = 1 from the first only. All goes through `igpo run`: a call after Ctrl-C continues, finished runs are left alone.
The page is written from the journals. Nothing is promised, so the exit code says only whether it ran.
"""

import argparse
import os
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "teacher"))

from ablation_arms.chart import course_svg
from ablation_arms.page import Results, page
from ablation_arms.plan import FIRST_ONLY, REWRITTEN, RL_ARMS, SFT_ARMS, SeedPlan, Settings, write_plan
from ablation_arms.results import read_seed
from arm_runs.overlap import separate
from arm_runs.schedule import run_all
from arm_runs.script import run_script

from igpo_teacher.server import TeacherServer
from igpo_trainer.cli.run import is_finished

ROOT = Path(__file__).parents[1]
CHAINS = ROOT / "benchmarks" / "ablation_arms"


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a minute: one seed of a chain that learns nothing")
    parser.add_argument("--manifest", type=Path, help="what is run [chain.yaml, or quick.yaml, in ablation_arms/]")
    parser.add_argument("--out", type=Path, help="folder of all runs [runs-ablations, or runs-ablations-quick]")
    parser.add_argument(
        "--results", type=Path, help="page that is written; charts go to images/ beside it [docs/ablations.md; "
        "under --quick ablations.md in the folder of runs]",
    )  # fmt: skip
    parser.add_argument("--seeds", type=int, nargs="+", help="of SFT and RL together [0 1 2, or 0]")
    parser.add_argument("--rl-seeds", type=int, default=1, help="RL seeds of every SFT checkpoint [%(default)s]")
    parser.add_argument("--sft", nargs="+", choices=SFT_ARMS, default=SFT_ARMS, help="SFT arms [all]")
    parser.add_argument("--arms", nargs="+", choices=tuple(RL_ARMS), default=tuple(RL_ARMS), help="RL arms [all]")
    parser.add_argument("--problems", type=int, help="held-out problems [400, or 24]")
    parser.add_argument("--samples", type=int, help="samples per problem at temperature 1 [8, or 4]")
    parser.add_argument("--every", type=int, help="steps between evaluations [10, or 2]")
    parser.add_argument("--context-tokens", type=int, default=48, help="canvas of long originals [%(default)s]")
    parser.add_argument("--teacher-port", type=int, default=8377, help="port of the teacher on this machine, a part "
                        "of the manifests: the same for every call on one --out [%(default)s]")  # fmt: skip
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each [%(default)s]")
    arguments = parser.parse_args()
    _fill_in(arguments)
    for name in ("rl_seeds", "problems", "samples", "every", "context_tokens", "teacher_port", "jobs"):
        if getattr(arguments, name) < 1:
            parser.error(f"--{name.replace('_', '-')} {getattr(arguments, name)} is below 1; give 1 or more")
    if len(set(arguments.sft)) > 1 and set(arguments.arms) <= set(FIRST_ONLY):
        parser.error(
            f"--arms {', '.join(arguments.arms)}: nothing would start from {', '.join(arguments.sft[1:])}, since these "
            f"start from the first SFT arm only; give another arm too, or --sft {arguments.sft[0]} alone"
        )
    return arguments


def _fill_in(arguments: argparse.Namespace) -> None:
    """Defaults that --quick changes."""
    quick = arguments.quick
    arguments.out = arguments.out or Path("runs-ablations-quick" if quick else "runs-ablations")
    results = arguments.out / "ablations.md" if quick else ROOT / "docs" / "ablations.md"
    values = {
        "manifest": CHAINS / ("quick.yaml" if quick else "chain.yaml"),
        "results": results,
        "seeds": [0] if quick else [0, 1, 2],
        "problems": 24 if quick else 400,
        "samples": 4 if quick else 8,
        "every": 2 if quick else 10,
    }
    for name, value in values.items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, value)


def main() -> int:
    """Run, read, write."""
    arguments = parse()
    settings = Settings(
        manifest=arguments.manifest,
        problems=arguments.problems,
        samples=arguments.samples,
        every_steps=arguments.every,
        context_tokens=arguments.context_tokens,
        teacher_url=f"http://127.0.0.1:{arguments.teacher_port}/v1",
        sft_arms=list(dict.fromkeys(arguments.sft)),
        rl_arms=list(dict.fromkeys(arguments.arms)),
        rl_seeds=arguments.rl_seeds,
    )
    seeds = list(dict.fromkeys(arguments.seeds))
    plans = [write_plan(settings, arguments.out / "manifests", seed) for seed in seeds]
    overlaps = [separate(plan.jobs, plan.seed) for plan in plans]
    with _teacher(plans, arguments.out, arguments.teacher_port):
        # All SFT first: what starts from it is ready when a place is free.
        jobs = [plan.sft for plan in plans] + [rl.job for plan in plans for rl in plan.rl]
        run_all(jobs, arguments.out, arguments.jobs)
    found = [read_seed(plan, arguments.out, settings.samples) for plan in plans]
    images = arguments.results.parent / "images"
    images.mkdir(parents=True, exist_ok=True)
    charts = []
    for name, title, value in (
        ("accuracy", f"Accuracy, avg@{settings.samples}", lambda score: score.sampled_P),
        ("all-wrong", "All-wrong before rescue", lambda score: score.all_wrong_P),
    ):
        (images / f"ablations-{name}.svg").write_text(course_svg(title, value, found), encoding="utf-8")
        charts.append((f"images/ablations-{name}.svg", f"{title}, by steps and by tokens, for every SFT arm"))
    manifest = os.path.relpath(arguments.manifest, ROOT)
    command = "benchmarks/ablations.py --quick" if arguments.quick else "benchmarks/ablations.py"
    results = Results(settings, manifest, command, found, overlaps, arguments.jobs)
    arguments.results.write_text(page(results, charts), encoding="utf-8")
    print(f"written: {arguments.results}, {images}/ablations-*.svg")
    return 0


def _teacher(plans: list[SeedPlan], out: Path, port: int) -> AbstractContextManager[object]:
    """The teacher, where a document that needs it is not finished."""
    rewriting = [d for plan in plans for d in plan.treated.get(REWRITTEN, ())]
    if all(is_finished(d, out / d.kind / d.name) for d in rewriting):
        return nullcontext()
    try:
        return TeacherServer(port=port)
    except OSError as error:
        raise SystemExit(
            f"ablations: port {port} of 127.0.0.1 cannot be used ({error.strerror}); give another with --teacher-port"
        ) from None


if __name__ == "__main__":
    run_script("ablations", main)
