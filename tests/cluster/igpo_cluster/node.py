"""The node: containerd, kubelet, kube-proxy and cluster DNS within a `Machine`."""

import json
from pathlib import Path
from typing import Any

from igpo_cluster import containerd, processes, programs
from igpo_cluster.certificates import Authority
from igpo_cluster.cluster import Cluster
from igpo_cluster.machine import Machine
from igpo_cluster.progress import timed

NODE = "igpo-node"
DOMAIN = "cluster.local"


def start(cluster: Cluster, machine: Machine) -> None:
    """Start the node within `machine`, which has booted, and wait until it is Ready.

    Raises:
        ClusterError: a part ends or the node does not get ready.
    """
    authority = Authority(cluster.folder / "certificates")
    with timed("start containerd"):
        containerd.start(cluster.folder, machine)
    with timed("start the node"):
        _start_dns(cluster, machine)
        _start_proxy(cluster, authority, machine)
        start_kubelet(cluster, machine)
        cluster.kubectl("wait", "--for=create", f"node/{NODE}", "--timeout=60s")
        cluster.kubectl("wait", "--for=condition=Ready", f"node/{NODE}", "--timeout=60s")


def start_kubelet(cluster: Cluster, machine: Machine) -> processes.Process:
    """Start kubelet; a test that stopped it (a dead node) brings it back by this."""
    authority = Authority(cluster.folder / "certificates")
    folder = cluster.folder
    kubeconfig = authority.kubeconfig(
        folder / "kubelet.kubeconfig", cluster.server, f"system:node:{NODE}", ["system:nodes"]
    )
    config = _write(folder / "kubelet.json", _kubelet(folder, authority, machine))
    command: list[str | Path] = [
        programs.locate("kubelet"),
        f"--config={config}",
        f"--kubeconfig={kubeconfig}",
        f"--root-dir={folder / 'kubelet'}",
        f"--cert-dir={folder / 'kubelet-certificates'}",
        f"--hostname-override={NODE}",
        f"--node-ip={machine.address}",
    ]
    return processes.start("kubelet", machine.enter(folder, command), folder)


def _kubelet(folder: Path, authority: Authority, machine: Machine) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": f"unix://{containerd.socket_of(folder)}",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": False},
            "x509": {"clientCAFile": str(authority.pair.certificate)},
        },
        "authorization": {"mode": "AlwaysAllow"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{machine.control_group}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "clusterDNS": [machine.bridge_address],
        "clusterDomain": DOMAIN,
        "resolvConf": "",
        "podLogsDir": str(folder / "pod-logs"),
        "maxPods": 110,
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "evictionPressureTransitionPeriod": "5s",
        "nodeStatusUpdateFrequency": "5s",
        "nodeLeaseDurationSeconds": 20,
        "syncFrequency": "10s",
        "volumeStatsAggPeriod": "1h",
        "serializeImagePulls": False,
        "registryPullQPS": 0,
        "eventRecordQPS": 0,
        "kubeAPIQPS": 200,
        "kubeAPIBurst": 400,
        "protectKernelDefaults": False,
        "makeIPTablesUtilChains": True,
    }


def _start_proxy(cluster: Cluster, authority: Authority, machine: Machine) -> None:
    folder = cluster.folder
    kubeconfig = authority.kubeconfig(folder / "kube-proxy.kubeconfig", cluster.server, "system:kube-proxy")
    content = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "mode": "iptables",
        "clusterCIDR": machine.pods,
        "hostnameOverride": NODE,
        # An answer that stays on the bridge never meets the rule that would turn its address back.
        "iptables": {"masqueradeAll": True, "localhostNodePorts": False, "minSyncPeriod": "100ms"},
        "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }
    command: list[str | Path] = [
        programs.locate("kube-proxy"),
        f"--config={_write(folder / 'kube-proxy.json', content)}",
    ]
    processes.start("kube-proxy", machine.enter(folder, command), folder)


def _start_dns(cluster: Cluster, machine: Machine) -> None:
    corefile = cluster.folder / "Corefile"
    corefile.write_text(
        f"""
        {DOMAIN} in-addr.arpa {{
            bind {machine.bridge_address}
            errors
            kubernetes {DOMAIN} in-addr.arpa {{
                kubeconfig {cluster.kubeconfig}
                ttl 0
            }}
        }}
        """
    )
    command: list[str | Path] = [programs.locate("coredns"), f"-conf={corefile}"]
    processes.start("coredns", machine.enter(cluster.folder, command), cluster.folder)


def _write(path: Path, content: dict[str, Any]) -> Path:
    path.write_text(json.dumps(content, indent=1))
    return path
