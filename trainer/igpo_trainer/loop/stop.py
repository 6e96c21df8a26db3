"""The wish to stop: SIGTERM from the cluster or Ctrl-C from a person."""

import os
import select
import signal
from types import FrameType, TracebackType
from typing import Any, Protocol, Self

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class _Peers(Protocol):
    def any_true(self, flag: bool) -> bool: ...


class StopSignal:
    """Remembers SIGTERM and the first SIGINT, so that the loop can save before it ends.

    A second Ctrl-C raises KeyboardInterrupt at once, a third kills the process. A repeated SIGTERM changes nothing:
    torchrun sends one to ranks that are already saving. The flag is a plain attribute, because a handler that takes
    a lock (as threading.Event does) can deadlock the thread it interrupts. Torch-free: install it before slow imports.
    """

    def __init__(self) -> None:
        self.requested = False
        self._interrupts = 0
        self._wake: tuple[int, int] | None = None
        self._wakeup_before = -1
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        """Install the handlers; main thread only."""
        self._wake = os.pipe()
        os.set_blocking(self._wake[1], False)
        # Written to below Python, whichever thread the signal reaches: `wait` ends, and then our handler runs.
        self._wakeup_before = signal.set_wakeup_fd(self._wake[1], warn_on_full_buffer=False)
        for number in _STOP_SIGNALS:
            self._before[number] = signal.signal(number, self._on_signal)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)  # PID 1 of a pod was started with SIGTERM kept back
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Put the earlier handlers back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()
        if self._wake is not None:
            signal.set_wakeup_fd(self._wakeup_before)
            for end in self._wake:
                os.close(end)
            self._wake = None

    @property
    def wakeup(self) -> int | None:
        """A descriptor that can be read once a signal has come, for an event loop; None while not installed."""
        return None if self._wake is None else self._wake[0]

    def requested_anywhere(self, ranks: _Peers) -> bool:
        """Whether any rank was told to stop; a collective, so that every rank saves the same step."""
        return ranks.any_true(self.requested)

    def wait(self, seconds: float) -> bool:
        """Wait until told to stop, for at most `seconds`; return whether it was so. Only while installed."""
        assert self._wake is not None, "wait belongs inside the with block"
        if not self.requested:
            select.select([self._wake[0]], [], [], seconds)
        return self.requested

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        if number != signal.SIGINT:
            return
        self._interrupts += 1
        if self._interrupts == 2:
            raise KeyboardInterrupt
        if self._interrupts > 2:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.raise_signal(signal.SIGINT)
