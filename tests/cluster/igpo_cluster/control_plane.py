"""The control plane: etcd, apiserver, controller-manager and scheduler as processes of the user."""

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from igpo_cluster import audit, kueue, kwok, processes, programs, workspace
from igpo_cluster.certificates import Authority
from igpo_cluster.cluster import Cluster
from igpo_cluster.ports import free_ports
from igpo_cluster.processes import Process
from igpo_cluster.progress import timed
from igpo_cluster.waiting import until
from igpo_cluster.workspace import Workspace

_FAST = ("--kube-api-qps=500", "--kube-api-burst=1000")  # the defaults would be what a scale test measures


@dataclass(frozen=True)
class Options:
    """What a control plane is started with."""

    name: str = "control-plane"
    address: str = "127.0.0.1"
    """Where the apiserver listens."""
    services: str = "198.19.255.0/24"
    """The range of ClusterIPs."""
    kwok: bool = False
    """Run kwok, which plays kubelet for nodes made by `kwok.add_nodes`."""
    kueue: bool = False
    """Run Kueue with its plain-pod integration."""
    arguments: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """More command-line arguments by program, as `{"kube-controller-manager": ["--node-monitor-grace-period=20s"]}`."""


class ControlPlane:
    """A control plane for the length of a `with` block; the value is the `Cluster`.

    Raises on entry:
        ClusterError: a program cannot be built or does not start.
    """

    def __init__(self, options: Options = Options()) -> None:
        self.options = options
        self.workspace: Workspace | None = None
        self.cluster: Cluster | None = None

    def __enter__(self) -> Cluster:
        locate_programs(self.options)
        self.workspace = workspace.create(self.options.name)
        try:
            self.cluster = start(self.workspace, self.options)
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


def locate_programs(options: Options) -> None:
    """Build what is missing before anything is started, so that no time limit runs meanwhile."""
    for name in (*programs.CONTROL_PLANE, *(["kwok"] if options.kwok else []), *(["kueue"] if options.kueue else [])):
        programs.locate(name)


def start(space: Workspace, options: Options) -> Cluster:
    """Start the processes of a control plane in the folder of `space` and wait until they serve.

    Raises:
        ClusterError: a program ends or does not get ready.
    """
    cluster = Cluster(space.folder)
    with timed("start the control plane"):
        etcd_port, peer_port, port = free_ports(3)
        etcd = _start_etcd(space.folder, etcd_port, peer_port, options)
        authority = Authority.create(space.folder / "certificates")
        server = f"https://{options.address}:{port}"
        authority.kubeconfig(cluster.kubeconfig, server, "admin", ["system:masters"])
        apiserver = _start_apiserver(space.folder, authority, etcd_port, port, options)
        _wait_ready(server, authority, etcd, apiserver)
        _start_controllers(space.folder, authority, server, options)
        until(lambda: _has_default_account(cluster), "the controller-manager's first service account")
    if options.kwok:
        kwok.start(cluster, options.arguments.get("kwok", ()))
    if options.kueue:
        kueue.start(cluster)
    return cluster


def _start_etcd(folder: Path, port: int, peer_port: int, options: Options) -> Process:
    url, peer_url = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer_port}"
    command: list[str | Path] = [
        programs.locate("etcd"),
        f"--data-dir={folder / 'etcd'}",
        "--unsafe-no-fsync",  # nothing here has to survive a power cut
        f"--listen-client-urls={url}",
        f"--advertise-client-urls={url}",
        f"--listen-peer-urls={peer_url}",
        f"--initial-advertise-peer-urls={peer_url}",
        f"--initial-cluster=default={peer_url}",
        "--log-level=warn",
        *options.arguments.get("etcd", ()),
    ]
    return processes.start("etcd", command, folder)


def _start_apiserver(folder: Path, authority: Authority, etcd_port: int, port: int, options: Options) -> Process:
    policy = folder / "audit-policy.json"
    policy.write_text(json.dumps(audit.POLICY))
    first_service = options.services.rpartition(".")[0] + ".1"
    names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"]
    serving = authority.server("apiserver", [*sorted({"127.0.0.1", options.address}), first_service, *names])
    to_kubelet = authority.client("kube-apiserver-kubelet-client", ["system:masters"])
    loopback = options.address.startswith("127.")
    command: list[str | Path] = [
        programs.locate("kube-apiserver"),
        f"--etcd-servers=http://127.0.0.1:{etcd_port}",
        f"--bind-address={options.address}",
        f"--advertise-address={options.address}",
        *(["--endpoint-reconciler-type=none"] if loopback else []),  # no pod could use a loopback address
        f"--secure-port={port}",
        f"--service-cluster-ip-range={options.services}",
        f"--tls-cert-file={serving.certificate}",
        f"--tls-private-key-file={serving.key}",
        f"--client-ca-file={authority.pair.certificate}",
        f"--kubelet-client-certificate={to_kubelet.certificate}",
        f"--kubelet-client-key={to_kubelet.key}",
        "--kubelet-preferred-address-types=InternalIP",
        f"--service-account-key-file={authority.token_key}",
        f"--service-account-signing-key-file={authority.token_key}",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        f"--audit-policy-file={policy}",
        f"--audit-log-path={folder / 'audit.log'}",
        "--audit-log-maxsize=0",
        "--allow-privileged=true",
        "--max-requests-inflight=2000",
        "--max-mutating-requests-inflight=1000",
        *options.arguments.get("kube-apiserver", ()),
    ]
    return processes.start("kube-apiserver", command, folder)


def _start_controllers(folder: Path, authority: Authority, server: str, options: Options) -> None:
    for program in ("kube-controller-manager", "kube-scheduler"):
        kubeconfig = authority.kubeconfig(folder / f"{program}.kubeconfig", server, f"system:{program}")
        command: list[str | Path] = [
            programs.locate(program),
            f"--kubeconfig={kubeconfig}",
            "--leader-elect=false",
            "--secure-port=0",
            *_FAST,
        ]
        if program == "kube-controller-manager":
            command += [
                f"--service-account-private-key-file={authority.token_key}",
                f"--root-ca-file={authority.pair.certificate}",
                f"--cluster-signing-cert-file={authority.pair.certificate}",
                f"--cluster-signing-key-file={authority.pair.key}",
                "--use-service-account-credentials=true",
                "--concurrent-gc-syncs=40",
                "--concurrent-namespace-syncs=20",
            ]
        processes.start(program, [*command, *options.arguments.get(program, ())], folder)


def _wait_ready(server: str, authority: Authority, *parts: Process) -> None:
    context = ssl.create_default_context(cafile=str(authority.pair.certificate))

    def ready() -> bool:
        for process in parts:
            process.require_alive()
        try:
            with urllib.request.urlopen(f"{server}/readyz", context=context, timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    until(ready, f"{server}/readyz; see {parts[-1].folder / 'logs'}", within=120)


def _has_default_account(cluster: Cluster) -> bool:
    found = cluster.kubectl(
        "get", "serviceaccount", "default", "--namespace=default", "--ignore-not-found", "-o", "name"
    )
    return bool(found)
