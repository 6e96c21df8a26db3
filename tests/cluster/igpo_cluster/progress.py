"""Lines on stderr that say what happens now and how long it took."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


def say(line: str) -> None:
    """Write one line at once."""
    sys.stderr.write(f"igpo-cluster: {line}\n")
    sys.stderr.flush()


@contextmanager
def timed(what: str, usually: str = "") -> Iterator[None]:
    """Say that `what` starts (and how long it usually takes), then how many seconds it took."""
    say(f"{what} …{f' (usually {usually})' if usually else ''}")
    started = time.monotonic()
    yield
    say(f"{what}: {time.monotonic() - started:.1f} s")
