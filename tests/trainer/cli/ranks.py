"""One rank of a run that ends as its scenario says. Torch-free, so that it starts fast."""

import os
import signal
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

from igpo_trainer.cli.joining import ended_if_told
from igpo_trainer.cli.outcome import Position, run_and_report
from igpo_trainer.cli.worker import give_up
from igpo_trainer.loop.stop import StopSignal
from igpo_trainer.spec.errors import InterruptedRunError, InvalidDataError, InvalidRunError, RunError

RANK = int(os.environ["LOCAL_RANK"])
FOREVER = 100.0
position = Position(step=7, checkpoint="step-00000006")


def say(text):
    os.write(1, f"{text}\n".encode())  # one write: ranks share the pipe, and print() writes the newline apart


def done():
    say(f"rank {RANK} has trained")


def crash():
    if RANK == 1:
        raise ZeroDivisionError("loss is 0/0\nin cycle 7")
    threading.Event().wait(FOREVER)


def invalid_run():
    if RANK == 0:
        raise InvalidRunError("η is 1.5, above 1; lower hints.injectionRatio.max")
    threading.Event().wait(FOREVER)


def invalid_data():
    raise InvalidDataError("row 3 has no answer")


def hub_unreachable():
    raise RunError("hub unreachable; try again")


def killed():
    if RANK == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    threading.Event().wait(FOREVER)


def wait_for_stop(stop):
    say("ready")
    assert stop.wait(FOREVER)


def save_for(seconds):
    with StopSignal() as stop:
        wait_for_stop(stop)
        threading.Event().wait(seconds)
        position.checkpoint = "step-00000007"
        raise InterruptedRunError("saved step 7 on SIGTERM")


def save():
    save_for(0.0)


def save_slowly():
    save_for(45.0)


def one_is_killed_while_saving():
    with StopSignal() as stop:
        wait_for_stop(stop)
        if RANK == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        raise InterruptedRunError("saved step 7 on SIGTERM")


def never_saves():
    with StopSignal() as stop:
        say("ready")
        assert stop.wait(FOREVER)
        say("told to stop")
        threading.Event().wait(FOREVER)


def first_saved_leaves_early():
    """Rank 0 has saved and leaves; torchrun saw no signal and must let rank 1 finish."""
    if RANK == 1:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        assert signal.sigtimedwait([signal.SIGTERM], 2.0) is None
    raise InterruptedRunError("saved step 7 on SIGTERM")


def never_joined():
    """Waits for ranks that never come."""
    with StopSignal() as stop, ended_if_told(stop, partial(give_up, position=position), patience=0.5):
        say("ready")
        threading.Event().wait(FOREVER)


def orphans():
    """Leaves processes behind in sessions of their own, as a judge whose rank was killed would."""
    for command in ("sleep 100", "true"):
        shell = f"exec 1>/dev/null 2>/dev/null; {command}"
        parent = subprocess.run(
            ["setsid", "sh", "-c", f"({shell}) & echo $!"], capture_output=True, text=True, check=True
        )
        orphan = int(parent.stdout)
        say(f"orphan {orphan} {command}")
    for _ in range(500):
        if not Path(f"/proc/{orphan}").exists():
            say("reaped")
            return
        threading.Event().wait(0.01)


def who():
    say(f"node {os.environ['GROUP_RANK']}: rank {os.environ['RANK']} of {os.environ['WORLD_SIZE']}")


if __name__ == "__main__":
    sys.exit(run_and_report(globals()[sys.argv[1]], position))
