"""igpo-launch: PID 1 of a training pod. Starts torchrun, forwards signals, and ends with the pod contract's code."""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any, BinaryIO, Final, Self, cast

from igpo_trainer.cli.ending import Evidence, termination_of
from igpo_trainer.cli.gang import Gang
from igpo_trainer.cli.log_tail import LogTail
from igpo_trainer.cli.orphans import adopt_orphans, end_children, reap_until
from igpo_trainer.cli.outcome import read_outcomes
from igpo_trainer.cli.processors import usable_processors
from igpo_trainer.cli.rank_exit import read_rank_exits
from igpo_trainer.spec.contract import (
    EXIT_FILE_VARIABLE,
    GRACE_VARIABLE,
    MANIFEST_PATH,
    METRICS_LINGER_SECONDS,
    METRICS_PORT,
    TERMINATION_LOG_PATH,
    VOLUME_PATH,
    ExitCode,
    TerminationMessage,
)
from igpo_trainer.spec.errors import RunError

TERMINATION_LOG_VARIABLE: Final = "IGPO_TERMINATION_LOG"
DEFAULT_GRACE_SECONDS: Final = 600.0
_LOG_DRAIN_SECONDS = 5.0


def launch(
    worker: Sequence[str],
    gang: Gang,
    *,
    grace_seconds: float = DEFAULT_GRACE_SECONDS,
    termination_log: Path | None = None,
) -> int:
    """Run worker (a whole command line) once per local rank under torchrun and return the pod contract's exit code.

    SIGTERM and SIGINT go on to the ranks, which then have grace_seconds less five; a second SIGINT kills them.
    The reason, step, checkpoint and last lines go to termination_log, and to stderr a reason that no rank could give.
    Main thread only; reaps every child.
    """
    with tempfile.TemporaryDirectory(prefix="igpo-exit-") as folder, _Forwarder() as forwarder:
        adopt_orphans()
        tail = LogTail()
        arguments = [f"--log-dir={folder}", *gang.torchrun_arguments(worker, grace_seconds)]  # else it leaves one
        agent = subprocess.Popen(  # noqa: S603 our own module; the worker's command line is the caller's
            [sys.executable, "-m", "igpo_trainer.cli.agent", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(gang, folder),
            start_new_session=True,
        )
        forwarder.to(agent.pid)
        threads = [
            tail.follow(cast("BinaryIO", agent.stdout), sys.stdout.buffer),
            tail.follow(cast("BinaryIO", agent.stderr), sys.stderr.buffer),
        ]
        agent.returncode = reap_until(agent.pid)
        forwarder.to(None)
        end_children()
        for thread in threads:
            thread.join(_LOG_DRAIN_SECONDS)
        outcomes = read_outcomes(Path(folder), gang.processes)
        said = {outcome.reason for outcome in outcomes.values()}
        message = termination_of(
            Evidence(
                processes=gang.processes,
                outcomes=outcomes,
                torchrun_code=agent.returncode,
                exits=read_rank_exits(Path(folder)),
                stopped_by=forwarder.received,
                log=tail.lines(),
            )
        )
    if message.code != ExitCode.DONE and message.reason not in said:
        sys.stderr.write(f"igpo: {message.reason}\n")
    if termination_log is not None:
        write_termination(termination_log, message)
    return message.code


def main(arguments: Sequence[str] | None = None) -> None:
    """Console script: read the pod's environment, run the manifest, exit with the contract's code."""
    options = _parser().parse_args(arguments)
    log = Path(os.environ.get(TERMINATION_LOG_VARIABLE, TERMINATION_LOG_PATH))
    worker = [sys.executable, "-m", "igpo_trainer.cli.worker", "--manifest", str(options.manifest)]
    worker += ["--runs", str(options.runs), "--metrics-port", str(options.metrics_port)]
    worker += ["--linger-seconds", str(options.linger_seconds)]
    try:
        code = launch(
            worker, Gang.from_environment(os.environ), grace_seconds=options.grace_seconds, termination_log=log
        )
    except RunError as error:
        code = int(error.exit_code)
        sys.stderr.write(f"igpo-launch: {error}\n")
        write_termination(log, TerminationMessage(code=code, reason=str(error)))
    sys.exit(code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="igpo-launch", description=__doc__)
    parser.add_argument(
        "--manifest", type=Path, default=MANIFEST_PATH, help="the run's manifest (default: %(default)s)"
    )
    parser.add_argument("--runs", type=Path, default=VOLUME_PATH, help="folder of all runs (default: %(default)s)")
    parser.add_argument(
        "--metrics-port",
        type=int,
        default=METRICS_PORT,
        help="port of /metrics; 0: any free (default: %(default)s)",
    )
    parser.add_argument(
        "--linger-seconds",
        type=float,
        default=METRICS_LINGER_SECONDS,
        help="how long /metrics stays up after the end, so that the last values are scraped (default: %(default)s)",
    )
    parser.add_argument(
        "--grace-seconds",
        type=float,
        default=float(os.environ.get(GRACE_VARIABLE, DEFAULT_GRACE_SECONDS)),
        help=f"time from SIGTERM to SIGKILL, the pod's grace period (default: ${GRACE_VARIABLE} or %(default)s)",
    )
    return parser


def _environment(gang: Gang, folder: str) -> dict[str, str]:
    threads = max(1, usable_processors() // gang.processes)
    return {"OMP_NUM_THREADS": str(threads), **os.environ, "PYTHONUNBUFFERED": "1", EXIT_FILE_VARIABLE: folder}


def write_termination(path: Path, message: TerminationMessage) -> None:
    """Leave a termination message; in place: the kubelet mounts this very file, so it cannot be replaced."""
    try:
        path.write_bytes(message.encode())
    except OSError as error:
        sys.stderr.write(f"igpo: no termination message in {path}: {error.strerror}\n")


class _Forwarder:
    """Hands SIGTERM and SIGINT on to torchrun once, also when they arrive before it has started."""

    def __init__(self) -> None:
        self.received: int | None = None
        self._child: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._on_signal)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self._before)  # a pod keeps them back until here
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def to(self, child: int | None) -> None:
        self._child = child
        if self.received is not None:
            self._send(self.received)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.received is None:
            self.received = number
            self._send(number)
        elif number == signal.SIGINT and self.received == signal.SIGINT:
            self._send(signal.SIGKILL)  # the ranks follow in end_children

    def _send(self, number: int) -> None:
        if self._child is not None:
            os.kill(self._child, number)


if __name__ == "__main__":
    main()
