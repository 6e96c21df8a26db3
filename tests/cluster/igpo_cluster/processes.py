"""The processes of a cluster, found by a mark in their environment.

A list of process ids would miss the process that was started in the instant the harness died, and may name a stranger
after the ids wrapped around. The mark is inherited by everything the cluster starts, and says which cluster it was.
"""

import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from igpo_cluster.errors import ClusterError
from igpo_cluster.waiting import until

MARK = "IGPO_CLUSTER_FOLDER"
NAME = "IGPO_CLUSTER_PROGRAM"
PROC = Path("/proc")

_started: list["Process"] = []
"""A parent has to collect its ended children, or they stay zombies."""


@dataclass(frozen=True)
class Process:
    """A process that this harness started and may leave running: the cluster outlives its harness if asked to."""

    name: str
    pid: int
    folder: Path

    def require_alive(self) -> None:
        """Raise if the process has ended, with the end of its log.

        Raises:
            ClusterError: it has ended.
        """
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            pid, status = self.pid, 0
        if pid:
            log_path = log_of(self.folder, self.name)
            tail = "\n".join(log_path.read_text(errors="replace").splitlines()[-15:])
            code = os.waitstatus_to_exitcode(status)
            raise ClusterError(f"{self.name} ended with {code}; the end of {log_path}:\n{tail}")

    def stop(self, patience: float = 10.0) -> None:
        """SIGTERM, then after `patience` seconds SIGKILL; returns when it and what it started are gone."""
        stop_marked(self.folder, self.name, patience)


def start(
    name: str, command: Sequence[str | Path], folder: Path, environment: Mapping[str, str] | None = None
) -> Process:
    """Start `command` as a process of the cluster in `folder`; its output goes to `logs/<name>.log`.

    A session of its own keeps Ctrl-C from it: the harness gets that and stops its processes in order.
    """
    env = {**os.environ, **(environment or {}), MARK: str(folder), NAME: name}
    log_path = log_of(folder, name)
    log_path.parent.mkdir(exist_ok=True)
    words = [str(word) for word in command]
    files = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log_path), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    process = Process(name, os.posix_spawnp(words[0], words, env, file_actions=files, setsid=True), folder)
    _started.append(process)
    return process


def log_of(folder: Path, name: str) -> Path:
    """Where the process `name` of the cluster in `folder` writes."""
    return folder / "logs" / f"{name}.log"


def marked(folder: Path, name: str = "") -> list[int]:
    """The ids of the living processes of the cluster in `folder`, or of its program `name`."""
    wanted = {f"{MARK}={folder}".encode()} | ({f"{NAME}={name}".encode()} if name else set())
    found = []
    for entry in PROC.iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if wanted <= set((entry / "environ").read_bytes().split(b"\0")):
                found.append(int(entry.name))
        except (PermissionError, FileNotFoundError, ProcessLookupError):
            continue
    return found


def send(folder: Path, name: str, number: signal.Signals) -> None:
    """Send a signal to program `name` of the cluster in `folder`, as a test that stops a kubelet."""
    _signal(marked(folder, name), number)


def stop_marked(folder: Path, name: str = "", patience: float = 2.0) -> None:
    """End the processes of the cluster in `folder`, or of its program `name`.

    SIGTERM comes first, SIGKILL after `patience` seconds. The apiserver would wait a minute for the watches of
    everybody else to end, and nothing it holds has to be kept.

    Raises:
        ClusterError: a process survived SIGKILL for a minute.
    """
    _signal(marked(folder, name), signal.SIGTERM)
    try:
        until(lambda: not marked(folder, name), "the end of the cluster's processes", within=patience)
    except ClusterError:
        _signal(marked(folder, name), signal.SIGKILL)
        until(lambda: not marked(folder, name), f"the end of killed processes {marked(folder, name)}")
    for process in _started:
        if process.folder == folder and name in {"", process.name}:
            _collect(process.pid)


def started_at(pid: int) -> int | None:
    """When process `pid` started, in clock ticks since boot; None if there is none or it is a zombie."""
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else int(fields[19])


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def _collect(pid: int) -> None:
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:
        return
