"""kill -9 at any moment: the run then ends as if nothing had happened.

A tiny IGPO run (every phase in use, verdicts of worker processes among them) is trained once by nobody disturbed. Then
the same run is killed by SIGKILL again and again, and started again each time:

- at random moments, spread over its phases and its length;
- in another run, before each rename, removal and fsync that the whole run does in its folder, and before those that
  only a resumed run does.

After every kill each visible checkpoint is read and verified, the newest one is not older than before, the journal up
to it is untouched, partial files are filled with garbage and half a line is appended to the journals. In the end all
files are compared with those of the undisturbed run: weights, checkpoints, evaluations and samples byte for byte,
metrics.jsonl but for its `time` objects. Exit code 1 if a promise is broken.

Every start is `igpo run` in a process of its own, forked from this one so that torch is imported once.
"""

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: the order of sums depends on it

from kill_runs.attempt import Attempt
from kill_runs.manifest import write_manifests
from kill_runs.moments import LEFT, PHASES, moments, usual_seconds
from kill_runs.run import KilledRun
from kill_runs.volume import KillTestError, replaced_rollouts, threads_of, verdicts_from_a_deadline

import igpo_trainer.loop.train  # noqa: F401  # imported before the first fork


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50, help="kills at random moments of one run [%(default)s]")
    parser.add_argument("--calls", type=int, help="calls of the whole run that are killed at [all]")
    parser.add_argument("--steps", type=int, default=12, help="cycles of the run [%(default)s]")
    parser.add_argument("--seed", type=int, default=0, help="of the random moments [%(default)s]")
    parser.add_argument("--out", type=Path, help="folder to keep the runs in [a temporary one]")
    arguments = parser.parse_args()
    if arguments.steps <= LEFT:
        parser.error(f"--steps {arguments.steps} is below {LEFT + 1}; give {LEFT + 1} or more")
    return arguments


def main() -> int:
    """Kill, start again, compare."""
    arguments = parse()
    with tempfile.TemporaryDirectory() as temporary:
        try:
            kill_all(arguments, arguments.out or Path(temporary))
        except KillTestError as error:
            print(f"BROKEN: {error}", file=sys.stderr)
            return 1
    return 0


def kill_all(arguments: argparse.Namespace, out: Path) -> None:
    """Both ways of killing, and the table."""
    base_manifest, manifest = write_manifests(out / "manifests", steps=arguments.steps, workers=True)
    base = KilledRun(out / "whole", base_manifest)
    base.root.mkdir(parents=True)
    base.finish()
    whole = KilledRun(base.root, manifest)
    began = time.monotonic()
    reference = whole.finish()
    print(f"undisturbed: {arguments.steps} steps in {time.monotonic() - began:.1f} s", flush=True)
    require_eventful(whole)
    at_random = KilledRun.beside(base, "random", manifest)
    hit = kill_at_random(at_random, whole, arguments, usual_seconds(reference.messages, began))
    calls = list(dict.fromkeys(_calls(reference)))
    if arguments.calls is not None:
        calls = calls[:: max(1, len(calls) // max(1, arguments.calls))][: arguments.calls]
    at_calls = KilledRun.beside(base, "calls", manifest)
    points = kill_at_calls(at_calls, whole, calls, every=arguments.calls is None)
    print_table(hit, points, [whole, at_random, at_calls])


def require_eventful(whole: KilledRun) -> None:
    """Raise KillTestError unless the undisturbed run had what a kill could lose, and no verdict came from a clock."""
    if not replaced_rollouts(whole.volume.run_dir):
        raise KillTestError("nothing was rescued in the undisturbed run, so that no kill can hit it; give more --steps")
    if late := verdicts_from_a_deadline(whole.volume.run_dir):
        raise KillTestError(f"{late} verdicts are missing in the undisturbed run: a deadline decided; free the machine")


def kill_at_random(
    run: KilledRun, whole: KilledRun, arguments: argparse.Namespace, lasting: dict[str, float]
) -> Counter[str]:
    """Kill a run at random moments, then let it end; how many kills struck in each phase.

    Short phases are easily missed: one that no kill has struck by two thirds of them is aimed at from its first moment.
    A kill that is late on a busy machine strikes when the last cycle but one begins, for each must find the run alive.
    """

    def is_ending(now: Attempt) -> bool:
        return (now.step or 0) >= arguments.steps - 1

    hit: Counter[str] = Counter()
    for number, moment in enumerate(moments(arguments.kills, arguments.steps, lasting, arguments.seed), start=1):
        resumed_from = run.volume.latest
        attempt = run.start()
        if moment.phase != "start":
            attempt.until(lambda now, moment=moment: moment.has_come(now) or is_ending(now))
        if not is_ending(attempt):
            at_once = not hit[moment.phase] and number > arguments.kills * 2 // 3
            attempt.until(is_ending, 0.0 if at_once else moment.seconds)
        attempt.kill()
        if attempt.code != -9:
            run.require_ended(attempt)
            raise KillTestError(f"the run ended before kill {number} of {arguments.kills}; give it more --steps")
        run.judge(attempt, resumed_from)
        hit[attempt.phase] += 1
        print(
            f"kill {number}/{arguments.kills}: {attempt.phase} of step {attempt.step or 0}; "
            + ("no checkpoint yet" if run.volume.latest is None else f"step-{run.volume.latest:08d} is kept"),
            flush=True,
        )
    run.finish()
    run.require_same(whole)
    print(f"same files as the undisturbed run; {run.volume.poisoned} partial files were left and none was read")
    missed = [phase for phase in PHASES if not hit[phase]]
    if missed and arguments.kills >= 3 * len(PHASES):
        raise KillTestError(f"no kill struck in {', '.join(missed)}; free the machine or give more --kills")
    return hit


def kill_at_calls(run: KilledRun, whole: KilledRun, calls: list[str], *, every: bool) -> Counter[str]:
    """Kill a run before each of `calls`, with `every` also before those of resumed runs; kills by kind of call."""
    wanted, done = set(calls), set[str]()

    def deadly(call: str) -> bool:
        return call not in done and (every or call in wanted)

    while True:
        resumed_from = run.volume.latest
        attempt = run.start(deadly)
        attempt.until(lambda _: False)
        if attempt.code != -9:
            break
        call = _calls(attempt)[-1]
        done.add(call)
        run.judge(attempt, resumed_from)
        print(f"killed before {call} ({len(done & wanted)} of {len(wanted)})", flush=True)
    run.require_ended(attempt)
    run.require_same(whole)
    if missing := wanted - done:
        raise KillTestError(f"{len(missing)} calls of the undisturbed run never came, first {min(missing)}")
    print(f"same files as the undisturbed run; {run.volume.poisoned} partial files were left and none was read")
    return Counter(call.partition(" ")[0] for call in done)


def print_table(hit: Counter[str], points: Counter[str], runs: list[KilledRun]) -> None:
    """What was shown; whatever is said to be 0 would have ended the test."""
    threads = {threads_of(run.volume.run_dir) for run in runs}
    if len(threads) > 1:
        raise KillTestError(f"the runs had {sorted(threads)} threads; set OMP_NUM_THREADS")
    print()
    for phase in dict.fromkeys((*PHASES, *hit)):
        print(f"  {phase:<12}{hit[phase]:>5} kills at a random moment")
    for name, count in sorted(points.items()):
        print(f"  {name:<12}{count:>5} kills before such a call")
    print(f"  threads {threads.pop()}, verdicts by a deadline 0, completed steps lost 0, partial files read 0")


def _calls(attempt: Attempt) -> list[str]:
    return [message.removeprefix("call ") for _, message in attempt.messages if message.startswith("call ")]


if __name__ == "__main__":
    sys.exit(main())
