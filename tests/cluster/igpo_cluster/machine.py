"""A machine within the machine: namespaces of Linux in which a node runs, so that nothing of it touches the host.

The node's bridge and iptables chains live in a network namespace, its mounts in a mount namespace, its processes in a
process namespace. When the first process of the machine ends, the kernel removes all of that, whatever state it was in.
Only the control groups and the folder are ours to remove. The host reaches the machine by a veth pair and two routes.

All addresses are in 198.18.0.0/15, which is set apart for benchmarks and in nobody's use, so that no network that the
host is part of is shadowed: a host that is itself a pod keeps its own 10.96.0.10.
"""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from igpo_cluster import processes, programs
from igpo_cluster.cache import cache_folder
from igpo_cluster.errors import ClusterError
from igpo_cluster.processes import Process
from igpo_cluster.waiting import until

_CGROUPS = Path("/sys/fs/cgroup")
_MOST = 64


@dataclass(frozen=True)
class Machine:
    """Number `index` of the machines within this machine; the number decides names and addresses."""

    index: int

    @classmethod
    def free(cls) -> "Machine":
        """A machine whose number nobody uses.

        Raises:
            ClusterError: all numbers are in use.
        """
        used = {path.name for path in Path("/sys/class/net").iterdir()}
        for index in range(_MOST):
            if cls(index).link not in used and not cls(index)._groups():
                return cls(index)
        raise ClusterError(f"all {_MOST} machines are in use; see `ip link` and `python -m igpo_cluster status`")

    @property
    def link(self) -> str:
        """The host's end of the veth pair."""
        return f"igpo{self.index}"

    @property
    def host_address(self) -> str:
        """The host, as the machine and its pods see it; the apiserver listens here."""
        return f"198.18.{self.index}.1"

    @property
    def address(self) -> str:
        """The node's address."""
        return f"198.18.{self.index}.2"

    @property
    def pods(self) -> str:
        """The range of pod addresses; the first is the bridge's."""
        return f"198.18.{64 + self.index}.0/24"

    @property
    def bridge_address(self) -> str:
        """The gateway of the pods, where cluster DNS listens."""
        return f"198.18.{64 + self.index}.1"

    @property
    def services(self) -> str:
        """The range of ClusterIPs."""
        return f"198.19.{self.index}.0/24"

    @property
    def control_group(self) -> str:
        """Name of the control group below which kubelet keeps those of the pods."""
        return self.link

    def boot(self, folder: Path) -> None:
        """Make the namespaces, the network and the control groups; ends with the processes marked by `folder`."""
        init = programs.locate("pause")
        flags = ("--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")
        parent = processes.start("machine", ["unshare", *flags, init], folder)
        first = until(lambda: _child(parent), "the first process of the machine")
        (folder / "machine.pid").write_text(str(first))
        self._connect(first, folder)
        for controller in _controllers():
            group = controller / self.control_group
            group.mkdir(exist_ok=True)
            _weigh(group)

    def enter(self, folder: Path, command: Sequence[str | Path]) -> list[str | Path]:
        """`command` as it has to be called on the host in order to run within the machine."""
        first = (folder / "machine.pid").read_text()
        return ["nsenter", f"--target={first}", "--mount", "--net", "--pid", "--", *command]

    def remove(self) -> None:
        """Remove what outlives the machine's processes. They must have ended; nothing happens if it is gone already."""
        if Path("/sys/class/net", self.link).exists():
            subprocess.run(["ip", "link", "delete", self.link], capture_output=True, check=False)
        until(lambda: all(map(_remove_group, self._groups())), f"empty control groups {self.link}")

    def _groups(self) -> list[Path]:
        return [path for path in (controller / self.link for controller in _mounted()) if path.exists()]

    def _connect(self, first: int, folder: Path) -> None:
        _ip("link", "add", self.link, "type", "veth", "peer", "name", "eth0", "netns", str(first))
        _ip("address", "add", f"{self.host_address}/30", "dev", self.link)
        _ip("link", "set", self.link, "up")
        # kubelet and containerd have paths in /var/lib and /run that no setting moves.
        inside = f"""
            ip link set lo up
            ip address add {self.address}/30 dev eth0
            ip link set eth0 up
            ip route add default via {self.host_address}
            ip link add cni0 type bridge
            ip address add {self.bridge_address}/24 dev cni0
            ip link set cni0 up
            sysctl -qw net.ipv4.ip_forward=1
            mount -t tmpfs tmpfs /run
            mount -t tmpfs tmpfs /var/log
            mkdir /run/cache /run/lib /run/lib-work
            mount --bind {cache_folder()} /run/cache
            mount -t overlay overlay -o lowerdir=/var/lib,upperdir=/run/lib,workdir=/run/lib-work /var/lib
            mount --move /run/cache {cache_folder()}
        """
        run(self.enter(folder, ["sh", "-euc", inside]))
        for network in (self.pods, self.services):
            _ip("route", "add", network, "via", self.address)


def run(command: Sequence[str | Path], stdin: str = "") -> str:
    """Run a command to its end and return its output.

    Raises:
        ClusterError: it fails or is not there.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, input=stdin, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise ClusterError(f"no command {words[0]}; install it with `python -m igpo_cluster packages`") from error
    if done.returncode:
        raise ClusterError(f"`{' '.join(words)}` failed: {done.stderr.strip()[-2000:]}")
    return done.stdout


def _ip(*arguments: str) -> None:
    run(["ip", *arguments])


def _child(parent: Process) -> int | None:
    """The one child of `unshare`, which is process 1 of the new namespaces, once it runs."""
    parent.require_alive()
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
    if children and Path(f"/proc/{children[0]}/exe").readlink() == programs.locate("pause").resolve():
        return int(children[0])
    return None


def _mounted() -> list[Path]:
    """The folders of the control group hierarchies: one per controller in version 1, one in version 2."""
    if (_CGROUPS / "cgroup.procs").exists():
        return [_CGROUPS]
    return [path for path in _CGROUPS.iterdir() if path.is_dir() and not path.is_symlink()]


def _controllers() -> list[Path]:
    """Where the machine's group has to be made; in version 2 the controllers are handed down to it first."""
    if (_CGROUPS / "cgroup.procs").exists():
        available = (_CGROUPS / "cgroup.controllers").read_text().split()
        wanted = " ".join(
            f"+{name}" for name in available if name in {"cpu", "cpuset", "memory", "pids", "io", "hugetlb"}
        )
        (_CGROUPS / "cgroup.subtree_control").write_text(wanted)
    return _mounted()


def _weigh(group: Path) -> None:
    """Let the pods weigh as much as a process per core: as one group they would share the weight of one process."""
    cores = os.cpu_count() or 1
    for name, one in (("cpu.shares", 1024), ("cpu.weight", 100)):
        if (group / name).exists():
            (group / name).write_text(str(one * cores))


def _remove_group(group: Path) -> bool:
    for folder, _, _ in os.walk(group, topdown=False):
        try:
            Path(folder).rmdir()
        except FileNotFoundError:
            continue
        except OSError:  # busy for a moment after its last process has ended
            return False
    return True
