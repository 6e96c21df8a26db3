"""A rank that waits for the others and is told to stop, as when one of them died before it came."""

import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from igpo_trainer.loop.stop import StopSignal
from igpo_trainer.spec.errors import InterruptedRunError, RunError

JOIN_SECONDS: Final = 30.0
"""How long ranks that were told to stop go on waiting for each other, to leave together."""


@contextmanager
def ended_if_told(
    stop: StopSignal, give_up: Callable[[RunError], None], *, patience: float = JOIN_SECONDS
) -> Iterator[None]:
    """While ranks meet: call `give_up`, in a thread, when they have not met `patience` seconds after a signal to stop.

    Waiting for other ranks takes up to half an hour and cannot be interrupted; nothing has been changed by then.
    """
    told = stop.wakeup
    assert told is not None, "the signal's handlers come first"
    met, done = socket.socketpair()

    def watch() -> None:
        ready, _, _ = select.select([met.fileno(), told], [], [])
        if ready == [told] and not select.select([met], [], [], patience)[0]:
            give_up(
                InterruptedRunError("told to stop before all ranks had come; nothing was changed, start the run again")
            )

    thread = threading.Thread(target=watch, name="joining", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.close()
        thread.join()
        met.close()
