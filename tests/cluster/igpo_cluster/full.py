"""The whole cluster: a control plane and one node that runs containers. Needs root."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType

from igpo_cluster import control_plane, node, packages, processes, programs, volumes, workspace
from igpo_cluster.cluster import Cluster
from igpo_cluster.control_plane import Options
from igpo_cluster.errors import ClusterError
from igpo_cluster.machine import Machine
from igpo_cluster.workspace import Workspace

_VOLUMES = 120
_GRACE = "--node-monitor-grace-period=25s"  # half the default: a test waits for a dead node to be noticed


class FullCluster:
    """A cluster with a node for the length of a `with` block; the value is the `Cluster`.

    Raises on entry:
        ClusterError: this is not root, a package is missing, another such cluster is up, or a part does not start.
    """

    def __init__(self, options: Options | None = None) -> None:
        self.options = options or Options(name="full")
        self.workspace: Workspace | None = None
        self.cluster: Cluster | None = None

    def __enter__(self) -> Cluster:
        if os.geteuid() != 0:
            raise ClusterError(f"a node needs root, this is user {os.geteuid()}; use sudo, or the control plane alone")
        packages.require()
        control_plane.locate_programs(self.options)
        locate_node_programs()
        workspace.sweep()
        _require_alone()
        machine = Machine.free()
        self.workspace = workspace.create(self.options.name, machine)
        try:
            machine.boot(self.workspace.folder)
            where = replace(
                self.options,
                address=machine.host_address,
                services=machine.services,
                arguments={"kube-controller-manager": [_GRACE], **self.options.arguments},
            )
            self.cluster = control_plane.start(self.workspace, where)
            node.start(self.cluster, machine)
            volumes.add_class(self.cluster)
            volumes.add_volumes(self.cluster, _VOLUMES)
        except BaseException:
            self.workspace.destroy()
            raise
        self.workspace.update(ready=True)
        return self.cluster

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.cluster:
            self.cluster.close()
        if self.workspace:
            self.workspace.leave()

    @contextmanager
    def kubelet_stopped(self) -> Iterator[None]:
        """The node is dead for the length of a `with` block: kubelet is killed, the containers run on unwatched."""
        if not self.workspace or not self.cluster or self.workspace.state.machine is None:
            raise ClusterError("there is no node of ours whose kubelet could be stopped; enter the cluster first")
        machine = Machine(self.workspace.state.machine)
        processes.stop_marked(self.workspace.folder, "kubelet")
        try:
            yield
        finally:
            node.start_kubelet(self.cluster, machine)
            self.cluster.kubectl("wait", "--for=condition=Ready", f"node/{node.NODE}", "--timeout=60s")


def locate_node_programs() -> None:
    """Build what a node needs and what is missing, before any time limit runs."""
    for name in ("pause", *programs.NODE):
        programs.locate(name)


def _require_alone() -> None:
    """One store of images serves one containerd."""
    for space in workspace.every():
        if not space.abandoned and space.state.machine is not None:
            where = f"{space.state.name} ({space.folder})"
            raise ClusterError(f"the cluster {where} has a node already, and there can be one; stop that first")
