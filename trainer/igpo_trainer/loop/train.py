"""Train one document to its end on this process and its peers."""

from collections.abc import Callable
from contextlib import suppress

from igpo_trainer.loop.igpo import IGPOLoop
from igpo_trainer.loop.position import Position
from igpo_trainer.loop.ranks import Ranks
from igpo_trainer.loop.session import Session
from igpo_trainer.loop.setup import RunPlace, open_session
from igpo_trainer.loop.sft import SftLoop
from igpo_trainer.loop.stop import StopSignal
from igpo_trainer.observe.report import write_report
from igpo_trainer.observe.summary import write_summary
from igpo_trainer.spec.document import Document
from igpo_trainer.spec.errors import RunError
from igpo_trainer.spec.igpo import IGPOTrainingSpec


def train(
    document: Document,
    place: RunPlace,
    ranks: Ranks,
    stop: StopSignal,
    position: Position | None = None,
    on_end: Callable[[BaseException | None], None] = lambda _: None,
) -> None:
    """Run the document from its newest checkpoint to the end; summary and report are written however it ends.

    `on_end` gets the error that ended the work, or None, as soon as it has: metrics may linger for a while after that.

    Raises:
        InvalidRunError, InvalidDataError: nothing was trained; a retry would fail the same way.
        InterruptedRunError: told to stop; saved.
        RunError: failed; the last checkpoint is kept.
    """
    session = open_session(document, place, ranks, stop, position or Position())
    try:
        _loop(session).run()
        on_end(None)
        _describe(session)
    except BaseException as error:
        on_end(error)
        with suppress(OSError, RunError):  # what ended the run is the error to report
            _describe(session)
        if isinstance(error, OSError):
            raise RunError(
                f"{session.run_dir}: {' '.join(str(error).split())}; the last checkpoint is kept; make room or mend "
                "the volume, then start the run again"
            ) from error
        raise
    finally:
        session.close()


def _describe(session: Session) -> None:
    if session.claim is not None and session.claim.still_owner():
        write_summary(session.run_dir)
        write_report(session.run_dir)


def _loop(session: Session) -> IGPOLoop | SftLoop:
    if isinstance(session.spec, IGPOTrainingSpec):
        return IGPOLoop(session, session.spec)
    return SftLoop(session, session.spec)
