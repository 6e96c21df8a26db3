"""igpo-rewrite: PID 1 of the pod that rewrites traces. Needs no GPU; ends with the pod contract's code."""

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from igpo_trainer.cli.launch import DEFAULT_GRACE_SECONDS, TERMINATION_LOG_VARIABLE, write_termination
from igpo_trainer.cli.outcome import read_outcomes, run_and_report
from igpo_trainer.cli.rewrite import has_rewrite
from igpo_trainer.loop.stop import StopSignal
from igpo_trainer.spec.contract import (
    ATTEMPT_VARIABLE,
    EXIT_FILE_VARIABLE,
    FROM_VOLUME_PATH,
    GRACE_VARIABLE,
    MANIFEST_PATH,
    METRICS_LINGER_SECONDS,
    METRICS_PORT,
    RUN_ID_VARIABLE,
    TERMINATION_LOG_PATH,
    VOLUME_PATH,
    TerminationMessage,
)
from igpo_trainer.spec.errors import InvalidRunError
from igpo_trainer.spec.manifest import load_manifest

if TYPE_CHECKING:
    from igpo_trainer.loop.rewriting import RewriteProgress

_CLOSING_SECONDS = 5.0
"""Of the grace period, kept for what is done after the last answer."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Console script: rewrite the traces of the mounted manifest, leave the termination message, exit with its code."""
    options = _parser().parse_args(arguments)
    log = Path(os.environ.get(TERMINATION_LOG_VARIABLE, TERMINATION_LOG_PATH))
    reached: list[RewriteProgress] = []
    with tempfile.TemporaryDirectory(prefix="igpo-exit-") as folder, StopSignal() as stop:
        os.environ[EXIT_FILE_VARIABLE] = folder
        code = run_and_report(lambda: _rewrite(options, stop, reached))
        outcome = read_outcomes(Path(folder), 1).get(0)
    if outcome is None:  # nothing can be written: run_and_report has said so
        sys.exit(code)
    write_termination(
        log,
        TerminationMessage(
            code=outcome.code,
            reason=outcome.reason,
            cause=outcome.cause,
            rewrite=reached[0].status if reached else None,
            last_lines=outcome.traceback,
        ),
    )
    sys.exit(outcome.code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="igpo-rewrite", description=__doc__)
    parser.add_argument("--manifest", type=Path, default=MANIFEST_PATH, help="manifest (default: %(default)s)")
    parser.add_argument("--runs", type=Path, default=VOLUME_PATH, help="folder of all runs (default: %(default)s)")
    parser.add_argument("--metrics-port", type=int, default=METRICS_PORT, help="default: %(default)s")
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


def _rewrite(options: argparse.Namespace, stop: StopSignal, reached: "list[RewriteProgress]") -> None:
    documents = load_manifest(options.manifest)
    if len(documents) != 1 or not has_rewrite(documents[0]):
        raise InvalidRunError(
            f"{options.manifest}: expected one LengthAlignedSFT with spec.rewrite, found "
            f"{', '.join(str(d) for d in documents)}; mount the manifest of the run"
        )
    from igpo_trainer.loop.rewriting import RewriteProgress, rewrite
    from igpo_trainer.loop.setup import RunPlace
    from igpo_trainer.observe.console import Mode

    reached.append(RewriteProgress())
    place = RunPlace(
        root=options.runs,
        from_root=FROM_VOLUME_PATH if FROM_VOLUME_PATH.is_dir() else None,
        run_id=os.environ.get(RUN_ID_VARIABLE),
        attempt=int(os.environ[ATTEMPT_VARIABLE]) if ATTEMPT_VARIABLE in os.environ else None,
        metrics_port=options.metrics_port,
        metrics_address="",
        port_may_move=False,
        mode=Mode.LINES,
        linger_seconds=options.linger_seconds,
    )
    drain = max(0.0, options.grace_seconds - _CLOSING_SECONDS)
    rewrite(documents[0], place, stop, drain_seconds=drain, progress=reached[0])


if __name__ == "__main__":
    main()
