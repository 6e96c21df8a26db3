"""The folder of one cluster: everything it writes, and who uses it.

A cluster lives as long as one of its owners does, or until `python -m igpo_cluster down` if it was made to stay. Owners
are processes, named by id and start time, so that a harness killed by -9 is noticed: the next start sweeps its cluster.
"""

import json
import os
import secrets
import shutil
import tempfile
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from igpo_cluster.cache import locked
from igpo_cluster.errors import ClusterError
from igpo_cluster.machine import Machine
from igpo_cluster.processes import started_at, stop_marked
from igpo_cluster.progress import say

_STATE = "state.json"


@dataclass(frozen=True)
class Owner:
    """A process that uses a cluster."""

    pid: int
    started: int

    @classmethod
    def this_process(cls) -> "Owner":
        """The caller."""
        return cls(os.getpid(), started_at(os.getpid()) or 0)

    @property
    def alive(self) -> bool:
        """Whether that very process, not a later one of the same id, still runs."""
        return started_at(self.pid) == self.started


@dataclass(frozen=True)
class State:
    """What is known about a cluster without asking it."""

    name: str
    ready: bool = False
    stays: bool = False
    machine: int | None = None
    """Index of the `Machine` that the node runs in; None without a node."""
    owners: list[Owner] = field(default_factory=list)


@dataclass(frozen=True)
class Workspace:
    """The folder of one cluster, and its state file."""

    folder: Path

    @property
    def state(self) -> State:
        """The state as last written."""
        raw = json.loads((self.folder / _STATE).read_text())
        return State(**{**raw, "owners": [Owner(**owner) for owner in raw["owners"]]})

    @property
    def abandoned(self) -> bool:
        """Whether nobody uses this cluster any more and nobody asked it to stay."""
        try:
            state = self.state
        except (FileNotFoundError, json.JSONDecodeError):
            return True
        return not state.stays and not any(owner.alive for owner in state.owners)

    def update(self, **changes: object) -> State:
        """Write the state with `changes`, atomically."""
        return self._write(replace(self.state, **changes))  # type: ignore[arg-type]

    def join(self) -> None:
        """Add this process to the owners."""
        with locked(_root() / "lock"):
            self.update(owners=[*self.state.owners, Owner.this_process()])

    def leave(self) -> None:
        """Take this process off the owners; the last one to leave takes the cluster away."""
        with locked(_root() / "lock"):
            me = Owner.this_process()
            self.update(owners=[owner for owner in self.state.owners if owner.alive and owner != me])
            if self.abandoned:
                self.destroy()

    def destroy(self) -> None:
        """End the cluster's processes and remove what they made: network, mounts, control groups, files."""
        try:
            machine = self.state.machine
        except (FileNotFoundError, json.JSONDecodeError):
            machine = None
        stop_marked(self.folder)
        if machine is not None:
            Machine(machine).remove()
        shutil.rmtree(self.folder)

    def _write(self, state: State) -> State:
        draft = self.folder / f"{_STATE}.{os.getpid()}"
        draft.write_text(json.dumps(asdict(state), indent=1))
        draft.replace(self.folder / _STATE)
        return state


def create(name: str, machine: Machine | None = None) -> Workspace:
    """A new, empty folder owned by this process, after sweeping what dead harnesses left."""
    sweep()
    folder = _root() / f"{name}-{secrets.token_hex(3)}"
    with locked(_root() / "lock"):
        folder.mkdir()
        workspace = Workspace(folder)
        workspace._write(State(name=name, owners=[Owner.this_process()], machine=machine.index if machine else None))
    return workspace


def every() -> list[Workspace]:
    """All clusters of this user, in use or abandoned."""
    return [Workspace(path) for path in sorted(_root().iterdir()) if path.is_dir()]


def find(name: str) -> Workspace:
    """The cluster called `name` that is up.

    Raises:
        ClusterError: there is none.
    """
    for workspace in every():
        if not workspace.abandoned and workspace.state.name == name and workspace.state.ready:
            return workspace
    raise ClusterError(f"no cluster called {name} is up; start one with `make cluster`")


def sweep() -> None:
    """Remove the clusters that nobody uses any more."""
    with locked(_root() / "lock"):
        for workspace in every():
            if workspace.abandoned:
                say(f"removing {workspace.folder}, left behind by a harness that is gone")
                workspace.destroy()


def _root() -> Path:
    root = Path(tempfile.gettempdir(), f"igpo-cluster-{os.getuid()}")
    root.mkdir(mode=0o700, exist_ok=True)
    return root
