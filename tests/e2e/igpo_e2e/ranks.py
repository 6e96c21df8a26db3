"""Processes of a run's ranks, seen from the node: found by their environment, hit by signals."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from igpo_cluster.waiting import until
from igpo_e2e.run import Run
from igpo_trainer.spec.contract import ATTEMPT_VARIABLE, RUN_ID_VARIABLE


@dataclass(frozen=True)
class Rank:
    """One training process."""

    pid: int
    rank: int
    attempt: int

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process itself, past every parent."""
        os.kill(self.pid, number)


def ranks(run: Run) -> list[Rank]:
    """The training processes of a run on this node, by rank; needs root."""
    uid = run.body()["metadata"]["uid"]
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        environment = _environment(folder)
        if environment.get(RUN_ID_VARIABLE) == uid and "LOCAL_RANK" in environment and _is_worker(folder):
            found.append(Rank(int(folder.name), int(environment["RANK"]), int(environment[ATTEMPT_VARIABLE])))
    return sorted(found, key=lambda rank: rank.rank)


def launcher(run: Run, node_rank: int) -> int:
    """Process id of the launcher of one pod: the first of its container."""
    found = _first(run, b"igpo-launch", "PET_NODE_RANK", node_rank)
    if found is None:
        raise LookupError(f"no launcher of pod {node_rank} of {run.name}")
    return found


def rewriter(run: Run, attempt: int) -> int:
    """Process id of the pod that rewrites, seen from the node: the first of its container; waits until it is there."""
    what = f"the process that rewrites for {run.name}"
    return until(lambda: _first(run, b"igpo-rewrite", ATTEMPT_VARIABLE, attempt), what, within=60)


def _first(run: Run, command: bytes, variable: str, value: int) -> int | None:
    """Process id of a command of the run whose environment has this value."""
    uid = run.body()["metadata"]["uid"]
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and _runs(folder, command):
            environment = _environment(folder)
            if (environment.get(RUN_ID_VARIABLE), environment.get(variable)) == (uid, str(value)):
                return int(folder.name)
    return None


def rank_process(run: Run, rank: int, attempt: int | None = None) -> Rank:
    """The process of one rank, of any attempt or of this one; waits until it is there."""

    def look() -> Rank | None:
        fitting = [one for one in ranks(run) if one.rank == rank and attempt in (None, one.attempt)]
        return fitting[0] if fitting else None

    return until(look, f"a process of rank {rank} of {run.name}", within=60)


def _runs(folder: Path, command: bytes) -> bool:
    try:
        return command in (folder / "cmdline").read_bytes()
    except OSError:  # ended meanwhile
        return False


def _environment(folder: Path) -> dict[str, str]:
    try:
        raw = (folder / "environ").read_bytes()
    except OSError:  # ended meanwhile
        return {}
    pairs = (item.partition("=") for item in raw.decode(errors="replace").split("\0") if item)
    return {name: value for name, _, value in pairs}


def _is_worker(folder: Path) -> bool:
    """Whether it is the rank itself and not a helper that it started, such as a judge: its parent has no LOCAL_RANK."""
    try:
        stat = (folder / "stat").read_text()
    except OSError:
        return False
    parent = stat.rpartition(")")[2].split()[1]
    return "LOCAL_RANK" not in _environment(Path("/proc") / parent)
