"""Connections from every rank to the first, whose end tells the others at once that a rank has gone.

A collective that waits for a dead rank may wait for half an hour, and a rank that computes alone does not notice at
all. The kernel closes a dead process's connections, and its keep-alive probes find a machine that has gone, so nothing
here depends on how busy a living rank is: one that is slow is never taken for dead.
"""

import json
import os
import select
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self

from igpo_trainer.loop.peer_lost import is_peer_lost
from igpo_trainer.loop.ranks import Ranks
from igpo_trainer.spec.contract import Cause
from igpo_trainer.spec.errors import InterruptedRunError, RunError

PATIENCE_SECONDS: Final = 20.0
"""How long a rank that has learned of a loss may take to end by itself, as by the error of a collective."""
_PROBES: Final = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 4}
"""A machine that is gone is noticed after 30 s of silence."""
_MEETING_SECONDS: Final = 60.0
_NEWS_SECONDS: Final = 5.0
"""The error of a collective may be faster than the news of who is lost."""
_FAREWELL: Final = "left"
_WITHOUT_A_WORD: Final = "is gone: it said nothing, so it was killed or its machine was lost"


class Lifeline:
    """This rank's view of who is still there; a context manager around the work of a run.

    A rank that leaves by an error tells the others its line. `patience` seconds after a rank was lost `give_up` is
    called, in a thread, with a RunError that says which and why, to end the process: its main thread is stuck in a
    collective, or busy with work that nobody waits for any more. `advice` ends the line.

    Raises:
        RunError: on leaving, in the place of the error of a collective: it says which rank was lost and why.

    """

    def __init__(
        self,
        ranks: Ranks,
        give_up: Callable[[RunError], None],
        *,
        advice: str = "the last checkpoint is kept",
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._ranks = ranks
        self._give_up = give_up
        self._advice = advice
        self._patience = patience
        self._peers: dict[int, _Peer] = {}
        self._lost: str | None = None
        self._told = threading.Event()
        self._wake, self._waker = socket.socketpair()
        self._thread = threading.Thread(target=self._watch, name="lifeline", daemon=True)

    def __enter__(self) -> Self:
        """Connect the ranks. A collective."""
        if self._ranks.world > 1:
            self._peers = _connected(self._ranks)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave, as `leave` does."""
        self.leave(error)
        if self._lost is not None and is_peer_lost(error):
            raise self._error() from error

    def leave(self, error: BaseException | None = None) -> None:
        """Tell the others how this rank's work ended and watch no longer; a second call does nothing."""
        if self._thread.is_alive():
            if is_peer_lost(error):
                self._told.wait(_NEWS_SECONDS)
            orderly = error is None or isinstance(error, InterruptedRunError)
            self._tell(self._ranks.rank, _FAREWELL if orderly else f"failed: {_line(error)}")
            self._waker.close()
            self._thread.join()
        for peer in self._peers.values():
            peer.close()
        self._peers = {}
        for end in (self._wake, self._waker):
            end.close()

    def _error(self) -> RunError:
        return RunError(f"{self._lost}; {self._advice}", cause=Cause.PEER_LOST)

    def _tell(self, about: int, word: str) -> None:
        for peer in list(self._peers.values()):
            peer.send({"rank": about, "word": word})

    def _watch(self) -> None:
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        by_number = {peer.fileno(): peer for peer in self._peers.values()}
        for number in by_number:
            poll.register(number, select.POLLIN)
        deadline = float("inf")
        while True:
            left = deadline - time.monotonic()
            ready = poll.poll(None if left == float("inf") else max(0.0, left) * 1000)
            if not ready:
                self._give_up(self._error())
                return
            for number, _ in ready:
                if number == self._wake.fileno():
                    return
                peer = by_number[number]
                messages = peer.receive()
                if messages is None:
                    poll.unregister(number)
                    self._hear(peer.rank, _WITHOUT_A_WORD)
                for message in messages or ():
                    self._hear(int(message["rank"]), str(message["word"]))
                if self._lost is not None:
                    deadline = min(deadline, time.monotonic() + self._patience)

    def _hear(self, rank: int, word: str) -> None:
        """Take note of what became of a rank; the first rank tells the others."""
        peer = self._peers.get(rank)
        if word == _FAREWELL:
            if peer is not None:
                peer.has_left = True
            return
        if self._lost is not None or (peer is not None and peer.has_left):
            return
        self._lost = f"rank {rank} {word}"
        if self._ranks.is_main:
            self._tell(rank, word)
        self._told.set()


class _Peer:
    """One end of a connection on which each line is a JSON object."""

    def __init__(self, rank: int, end: socket.socket) -> None:
        self.rank = rank
        self.has_left = False
        self._end = end
        self._rest = b""
        self._sending = threading.Lock()
        end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _PROBES.items():
            if hasattr(socket, name):  # the names are Linux's
                end.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    def fileno(self) -> int:
        return self._end.fileno()

    def send(self, message: dict[str, Any]) -> None:
        with self._sending, suppress(OSError):  # whoever does not hear it any more has ended
            self._end.sendall(json.dumps(message).encode() + b"\n")

    def receive(self) -> list[dict[str, Any]] | None:
        """Whole messages that have come; None at the end of the connection."""
        try:
            data = self._end.recv(65536)
        except OSError:
            data = b""
        if not data:
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        self._end.close()


def _connected(ranks: Ranks) -> dict[int, _Peer]:
    """The first rank's connections to all others; on these, theirs to the first."""
    address = os.environ.get("MASTER_ADDR", "127.0.0.1")
    if not ranks.is_main:
        port, token = ranks.gather_objects((0, ""))[0]
        try:
            peer = _Peer(0, socket.create_connection((address, port), timeout=_MEETING_SECONDS))
        except OSError as error:
            raise RunError(f"rank {ranks.rank} cannot reach rank 0 at {address}:{port}: {error}") from error
        peer.send({"rank": ranks.rank, "token": token})
        return {0: peer}
    with _listening(address, ranks.world) as server:
        token = os.urandom(16).hex()
        ranks.gather_objects((server.getsockname()[1], token))
        deadline, peers = time.monotonic() + _MEETING_SECONDS, dict[int, _Peer]()
        while len(peers) < ranks.world - 1:
            server.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                end, _ = server.accept()
            except TimeoutError as error:
                missing = sorted(set(range(1, ranks.world)) - set(peers))
                raise RunError(f"ranks {missing} have not connected to rank 0 in {_MEETING_SECONDS:.0f} s") from error
            if (rank := _introduced(end, token)) is None:
                end.close()
            else:
                peers[rank] = _Peer(rank, end)
        return peers


def _listening(address: str, world: int) -> socket.socket:
    """A server on a free port: on this machine alone when the ranks are, else for both families of addresses."""
    if address in ("127.0.0.1", "localhost"):
        return socket.create_server(("127.0.0.1", 0), backlog=world)
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", 0), family=socket.AF_INET6, backlog=world, dualstack_ipv6=True)
    return socket.create_server(("", 0), backlog=world)


def _introduced(end: socket.socket, token: str) -> int | None:
    """The rank at the other end; None when it is not one of ours."""
    end.settimeout(_NEWS_SECONDS)
    try:
        with end.makefile("rb") as lines:
            hello = json.loads(lines.readline(4096))
        known = hello["token"] == token
    except (OSError, ValueError, KeyError, TypeError):
        return None
    end.settimeout(None)
    return int(hello["rank"]) if known else None


def _line(error: BaseException | None) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
