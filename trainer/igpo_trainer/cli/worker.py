"""One rank of a run: what torchrun starts in a pod, and at a desk with several processes."""

import argparse
import atexit
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn

from igpo_trainer.cli.joining import ended_if_told
from igpo_trainer.cli.outcome import run_and_report
from igpo_trainer.cli.quiet import hushed
from igpo_trainer.loop.position import Position
from igpo_trainer.loop.stop import StopSignal
from igpo_trainer.spec.contract import (
    ATTEMPT_VARIABLE,
    FROM_VOLUME_PATH,
    MANIFEST_PATH,
    METRICS_LINGER_SECONDS,
    METRICS_PORT,
    RUN_ID_VARIABLE,
    VOLUME_PATH,
)
from igpo_trainer.spec.errors import RunError


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Train one document of a manifest and end the process with the contract's code."""
    options = _parser().parse_args(arguments)
    position = Position()
    # Before torch is imported, which takes seconds: SIGTERM in that time must not kill the rank unsaved.
    with hushed(options.quiet), StopSignal() as stop:
        code = run_and_report(lambda: _train(options, stop, position), position)
    end_process(code)


def end_process(code: int) -> NoReturn:
    """End the process without taking the interpreter apart.

    One of gloo's threads may still be dropping the tensors of the last collective. If it asks for the interpreter while
    that is going away, it is unwound through C++ code and the process aborts: a finished rank would count as crashed.
    """
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="igpo-worker", description=__doc__)
    parser.add_argument("--manifest", type=Path, default=MANIFEST_PATH, help="manifest (default: %(default)s)")
    # Not --run: torchrun, whose command line this stands on, takes it for an abbreviation of its own options.
    parser.add_argument("--document", help="KIND/NAME in the manifest; default: the only one")
    parser.add_argument("--runs", type=Path, default=VOLUME_PATH, help="folder of all runs (default: %(default)s)")
    parser.add_argument("--metrics-port", type=int, default=METRICS_PORT, help="default: %(default)s")
    parser.add_argument("--linger-seconds", type=float, default=METRICS_LINGER_SECONDS, help="default: %(default)s")
    parser.add_argument("--desk", action="store_true", help="not in a pod: metrics stay local, nothing lingers")
    parser.add_argument("--quiet", action="store_true", help="no progress lines")
    return parser


def _train(options: argparse.Namespace, stop: StopSignal, position: Position) -> None:
    from igpo_trainer.loop.lifeline import Lifeline
    from igpo_trainer.loop.ranks import Ranks
    from igpo_trainer.loop.setup import RunPlace
    from igpo_trainer.loop.train import train
    from igpo_trainer.observe.console import Mode
    from igpo_trainer.spec.errors import InvalidRunError
    from igpo_trainer.spec.manifest import load_manifest

    documents = [d for d in load_manifest(options.manifest) if options.document in (None, str(d))]
    if len(documents) != 1:
        raise InvalidRunError(
            f"{options.manifest}: {len(documents)} documents match {options.document or 'any run'}; "
            "name one with --document KIND/NAME"
        )
    mode = Mode.QUIET if options.quiet else Mode.LINES
    if options.desk:
        place = RunPlace(root=options.runs, metrics_port=options.metrics_port, mode=mode)
    else:
        place = RunPlace(
            root=options.runs,
            from_root=FROM_VOLUME_PATH if FROM_VOLUME_PATH.is_dir() else None,
            run_id=os.environ.get(RUN_ID_VARIABLE),
            attempt=int(os.environ[ATTEMPT_VARIABLE]) if ATTEMPT_VARIABLE in os.environ else None,
            metrics_port=options.metrics_port,
            metrics_address="",
            port_may_move=False,
            mode=mode,
            linger_seconds=options.linger_seconds,
        )
    end = partial(give_up, position=position)
    with ended_if_told(stop, end):
        ranks = Ranks.join()
    try:
        with Lifeline(ranks, end) as lifeline:
            train(documents[0], place, ranks, stop, position, lifeline.leave)
    finally:
        ranks.leave()


def give_up(error: RunError, position: Position | None = None) -> NoReturn:
    """End this process with an error of another thread than the main one, which does not come to its end."""

    def fail() -> NoReturn:
        raise error

    os._exit(run_and_report(fail, position))


if __name__ == "__main__":
    main()
