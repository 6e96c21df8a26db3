"""The processes of a cluster, found by a mark in their environment.

A list of process ids would miss the process that was started in the instant the harness died, and may name a stranger
after the ids wrapped around. The mark is inherited by everything the cluster starts, and says which cluster it was.
"""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from igpo_cluster.errors import ClusterError
from igpo_cluster.waiting import until

MARK = "IGPO_CLUSTER_FOLDER"
PROC = Path("/proc")

_children: list[tuple[Path, subprocess.Popen[bytes]]] = []
"""What this harness started: a parent has to collect its ended children, or they stay zombies."""


def start(
    name: str, command: Sequence[str | Path], folder: Path, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start `command` as a process of the cluster in `folder`; its output goes to `logs/<name>.log`."""
    env = {**os.environ, **(environment or {}), MARK: str(folder)}
    log_path = folder / "logs" / f"{name}.log"
    log_path.parent.mkdir(exist_ok=True)
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            [str(word) for word in command],
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C reaches the harness, which then stops these in order
        )
    _children.append((folder, process))
    return process


def require_alive(process: subprocess.Popen[bytes], name: str, folder: Path) -> None:
    """Raise if `process` has ended, with the end of its log.

    Raises:
        ClusterError: it has ended.
    """
    if process.poll() is not None:
        log_path = folder / "logs" / f"{name}.log"
        tail = "\n".join(log_path.read_text(errors="replace").splitlines()[-15:])
        raise ClusterError(f"{name} ended with {process.returncode}; the end of {log_path}:\n{tail}")


def stop(process: subprocess.Popen[bytes], patience: float = 10.0) -> None:
    """End one process that this harness started: SIGTERM, then after `patience` seconds SIGKILL."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def marked(folder: Path) -> list[int]:
    """The ids of the living processes of the cluster in `folder`."""
    wanted = f"{MARK}={folder}".encode()
    found = []
    for entry in PROC.iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except (PermissionError, FileNotFoundError, ProcessLookupError):
            continue
    return found


def stop_marked(folder: Path, patience: float = 2.0) -> None:
    """End every process of the cluster in `folder`: SIGTERM, then after `patience` seconds SIGKILL.

    The apiserver would wait a minute for the watches of everybody else to end; nothing it holds has to be kept.

    Raises:
        ClusterError: a process survived SIGKILL for half a minute.
    """
    _signal(marked(folder), signal.SIGTERM)
    try:
        until(lambda: not marked(folder), "the end of the cluster's processes", within=patience)
    except ClusterError:
        _signal(marked(folder), signal.SIGKILL)
        until(lambda: not marked(folder), f"the end of killed processes {marked(folder)}")
    for child_folder, process in _children.copy():
        if child_folder == folder:
            process.wait()
            _children.remove((folder, process))


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
