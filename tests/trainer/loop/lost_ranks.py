"""Three ranks, one of which ends in some way while the others wait outside of any collective; what they learned."""

import json
import os
import signal
import sys
import threading
import time
import warnings
from pathlib import Path

warnings.simplefilter("error")

from gang import together  # noqa: E402

from igpo_trainer.cli.worker import end_process  # noqa: E402
from igpo_trainer.loop.lifeline import Lifeline  # noqa: E402
from igpo_trainer.loop.ranks import Ranks  # noqa: E402
from igpo_trainer.spec.errors import InterruptedRunError  # noqa: E402

WORLD = 3
LONG = 50.0
PATIENCE = 0.5


def die(ranks, lifeline):
    os.kill(os.getpid(), signal.SIGKILL)


def fail(ranks, lifeline):
    raise ZeroDivisionError("loss is 0/0\nin cycle 7")


def work_alone(ranks, lifeline):
    threading.Event().wait(LONG)


def wait_in_a_collective(ranks, lifeline):
    ranks.barrier()


def leave(ranks, lifeline):
    pass


def leave_saved(ranks, lifeline):
    raise InterruptedRunError("saved")


def leave_last(ranks, lifeline):
    """After the others, by longer than it takes to give up."""
    lifeline._thread.join(4 * PATIENCE)


SCENARIOS = {
    "killed": (work_alone, work_alone, die),
    "first-killed": (die, work_alone, work_alone),
    "failed": (work_alone, fail, work_alone),
    "killed-in-a-collective": (wait_in_a_collective, wait_in_a_collective, die),
    "left": (leave_last, leave, leave_saved),
    "first-left": (leave, leave_last, leave),
}


def rank_of(folder, actions):
    ranks = Ranks.join(cpu=True, timeout_seconds=60)
    began = time.monotonic()

    def tell(how, what):
        path = folder / f"{ranks.rank}.json"
        path.write_text(json.dumps({"how": how, "what": what, "seconds": time.monotonic() - began}))

    def give_up(error):
        tell("gave up", str(error))
        end_process(0)

    try:
        with Lifeline(ranks, give_up, patience=PATIENCE) as lifeline:
            ranks.barrier()
            actions[ranks.rank](ranks, lifeline)
        tell("left", "")
    except Exception as error:
        tell(type(error).__name__, str(error))


def main(folder):
    for name, actions in SCENARIOS.items():
        (folder / name).mkdir()
        codes = together(WORLD, lambda name=name, actions=actions: rank_of(folder / name, actions), all_end=True)
        (folder / name / "codes.json").write_text(json.dumps(codes))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
