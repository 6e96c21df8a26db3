"""Kueue as a process beside the apiserver, with its integration of plain pods.

Its webhooks are installed as in its own release: the apiserver calls a Service, which here is an alias of this host,
and Kueue makes the certificates and writes them to a Secret. The Secret's copy on disk, which a kubelet would mount,
is ours.
"""

import base64
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from igpo_cluster import processes, programs
from igpo_cluster.cluster import Cluster
from igpo_cluster.ports import free_ports
from igpo_cluster.processes import Process
from igpo_cluster.progress import timed
from igpo_cluster.waiting import until

_NAMESPACE = "kueue-system"
_SERVICE = "kueue-webhook-service"
_SECRET = "kueue-webhook-server-cert"  # its name
_CONVERTED = ("localqueues", "clusterqueues", "workloads", "cohorts", "multikueueclusters")
_FRAMEWORKS = ("--v1-pod", "kueue-x-k8s-io")
API = "kueue.x-k8s.io/v1beta2"


def start(cluster: Cluster) -> None:
    """Install Kueue's API, start it and wait until it admits.

    Raises:
        ClusterError: it ends or does not get ready.
    """
    with timed("start Kueue"):
        port, health = free_ports(2)
        _install(cluster, port)
        certificates = cluster.folder / "kueue-certificates"
        certificates.mkdir()
        process = _start(cluster, certificates, port, health)
        until(lambda: _copy_certificates(cluster, process, certificates), "Kueue's certificates", within=60)
        until(lambda: _ready(process, health), f"Kueue's readiness; see {cluster.log('kueue')}", within=90)


def add_queue(cluster: Cluster, name: str, namespace: str, gpus: int, preemption: bool = False) -> None:
    """A ClusterQueue of `gpus` and a LocalQueue of the same name in `namespace`; wait until it admits.

    With `preemption`, runs of a higher WorkloadPriorityClass push out lower ones.
    """
    covered = {"cpu": "1000", "memory": "10Ti", "nvidia.com/gpu": str(gpus)}
    quotas = [{"name": resource, "nominalQuota": quota} for resource, quota in covered.items()]
    spec = {
        "namespaceSelector": {},
        "resourceGroups": [{"coveredResources": list(covered), "flavors": [{"name": "any", "resources": quotas}]}],
        "preemption": {"withinClusterQueue": "LowerPriority" if preemption else "Never"},
    }
    cluster.apply(
        {"apiVersion": API, "kind": "ResourceFlavor", "metadata": {"name": "any"}},
        {"apiVersion": API, "kind": "ClusterQueue", "metadata": {"name": name}, "spec": spec},
        {
            "apiVersion": API,
            "kind": "LocalQueue",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"clusterQueue": name},
        },
    )
    cluster.kubectl("wait", "--for=condition=Active", f"clusterqueue/{name}", "--timeout=30s")


def add_priority(cluster: Cluster, name: str, value: int) -> None:
    """A WorkloadPriorityClass."""
    cluster.apply({"apiVersion": API, "kind": "WorkloadPriorityClass", "metadata": {"name": name}, "value": value})


def used_gpus(cluster: Cluster, queue: str) -> int:
    """GPUs that the ClusterQueue `queue` has given away."""
    flavors = cluster.get("clusterqueue", queue)["status"].get("flavorsReservation", [])
    totals = [item["total"] for flavor in flavors for item in flavor["resources"] if item["name"] == "nvidia.com/gpu"]
    return sum(int(total) for total in totals)


def _install(cluster: Cluster, port: int) -> None:
    components = programs.module_folder("kueue", "sigs.k8s.io/kueue") / "config" / "components"
    service = {"type": "ExternalName", "externalName": "127.0.0.1"}
    namespaced = {"namespace": _NAMESPACE}
    cluster.create_namespace(_NAMESPACE)
    cluster.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": _SECRET, **namespaced}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": _SERVICE, **namespaced}, "spec": service},
    )
    definitions = [_read(path)[0] for path in sorted((components / "crd" / "bases").iterdir())]
    for definition in definitions:
        if definition["spec"]["names"]["plural"] in _CONVERTED:
            webhook = {"clientConfig": {"service": _service(port, "/convert")}, "conversionReviewVersions": ["v1"]}
            definition["spec"]["conversion"] = {"strategy": "Webhook", "webhook": webhook}
    hooks = _read(components / "webhook" / "manifests.yaml")
    for configuration in hooks:
        configuration["metadata"]["name"] = f"kueue-{configuration['metadata']['name']}"
        used = [hook for hook in configuration["webhooks"] if _is_used(hook["clientConfig"]["service"]["path"])]
        for hook in used:
            hook["clientConfig"]["service"] = _service(port, hook["clientConfig"]["service"]["path"])
            hook["namespaceSelector"] = _others_namespaces()
        configuration["webhooks"] = used
    cluster.apply(*definitions, *hooks)
    names = [f"crd/{definition['metadata']['name']}" for definition in definitions]
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=30s", *names)


def _start(cluster: Cluster, certificates: Path, port: int, health: int) -> Process:
    configuration = {
        "apiVersion": "config.kueue.x-k8s.io/v1beta2",
        "kind": "Configuration",
        "namespace": _NAMESPACE,
        "health": {"healthProbeBindAddress": f"127.0.0.1:{health}"},
        "metrics": {"bindAddress": "0"},
        "webhook": {"host": "127.0.0.1", "port": port, "certDir": str(certificates)},
        "leaderElection": {"leaderElect": False},
        "internalCertManagement": {"enable": True, "webhookServiceName": _SERVICE, "webhookSecretName": _SECRET},
        "clientConnection": {"qps": 200, "burst": 400},
        "integrations": {"frameworks": ["pod"]},
    }
    path = cluster.folder / "kueue.json"
    path.write_text(json.dumps(configuration, indent=1))
    command = [str(programs.locate("kueue")), f"--config={path}", f"--kubeconfig={cluster.kubeconfig}"]
    command.append("--feature-gates=VisibilityOnDemand=false")
    return processes.start("kueue", command, cluster.folder)


def _copy_certificates(cluster: Cluster, process: Process, folder: Path) -> bool:
    process.require_alive()
    data = cluster.get("secret", _SECRET, f"--namespace={_NAMESPACE}").get("data", {})
    for name in ("ca.crt", "tls.key", "tls.crt"):
        if name in data:
            draft = folder.parent / f"kueue-{name}"
            draft.write_bytes(base64.b64decode(data[name]))
            draft.replace(folder / name)
    return "tls.crt" in data


def _ready(process: Process, port: int) -> bool:
    process.require_alive()
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _is_used(path: str) -> bool:
    return any(framework in path for framework in _FRAMEWORKS)


def _service(port: int, path: str) -> dict[str, Any]:
    return {"namespace": _NAMESPACE, "name": _SERVICE, "port": port, "path": path}


def _others_namespaces() -> dict[str, Any]:
    label = "kubernetes.io/metadata.name"
    return {"matchExpressions": [{"key": label, "operator": "NotIn", "values": ["kube-system", _NAMESPACE]}]}


def _read(path: Path) -> list[dict[str, Any]]:
    return [document for document in YAML(typ="safe").load_all(path) if document]
