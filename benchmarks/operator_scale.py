"""The operator on a thousand runs: how long a reconcile takes, what it writes, what it weighs.

A real etcd, apiserver, controller-manager and scheduler, and kwok for the nodes, whose pods run at once and train
nothing. Creates --runs runs of --pods pods each, waits until every one is Running, then watches them do nothing for
--steady-seconds. Prints one JSON object; exits 1 when a bar is missed.

    python benchmarks/operator_scale.py --runs 200
"""

import argparse
import json
import math
import os
import re
import statistics
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import kubernetes

from igpo_cluster import kwok
from igpo_cluster.audit import Request
from igpo_cluster.cluster import Cluster
from igpo_cluster.control_plane import ControlPlane, Options
from igpo_cluster.ports import free_ports
from igpo_cluster.waiting import until

ROOT = Path(__file__).resolve().parent.parent
NAMESPACE = "scale"
USER = "igpo-operator"
PLURAL = "igpotrainings"
PODS_PER_NODE = 200
BARS = {"reconcile_p99_seconds": 1.0, "peak_memory_mib": 350.0, "steady_writes": 0}
"""Upper limits; the writes of a run have one of their own, see writes_allowed."""
CHILDREN, STATUSES, EVENTS = 4, 4, 3
RESOURCES = {
    "pods": "pods",
    "services": "children",
    "configmaps": "children",
    "networkpolicies": "children",
    "persistentvolumeclaims": "children",
    f"{PLURAL}/status": "statuses",
    "events": "events",
}


def manifest(name: str, pods: int) -> dict[str, Any]:
    """A run that the apiserver accepts; its pods are never started for real."""
    return {
        "apiVersion": "igpo.dev/v1alpha1",
        "kind": "IGPOTraining",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "model": {"scratch": {"maxPositions": 1024}},
            "dataset": {"source": "builtin:word-problems"},
            "workers": {"replicas": pods, "gpusPerWorker": 8},
            "storage": {"accessModes": ["ReadWriteMany"]},
        },
    }


def start_operator(cluster: Cluster, folder: Path, port: int) -> subprocess.Popen[bytes]:
    """The operator as a process of its own, with rights of its own name in the audit log."""
    environment = os.environ | {
        "KUBECONFIG": str(cluster.user(USER, ["system:masters"])),
        "IGPO_OPERATOR_TRAINER_IMAGE": "igpo-trainer:scale",
        "IGPO_OPERATOR_PORT": str(port),
        "IGPO_OPERATOR_NAMESPACES": NAMESPACE,
    }
    log = (folder / "operator.log").open("wb")
    return subprocess.Popen([sys.executable, "-m", "igpo_operator"], env=environment, stdout=log, stderr=log, cwd=ROOT)


def create_runs(cluster: Cluster, names: Sequence[str], pods: int) -> None:
    """Create all runs, 16 requests at a time."""
    api = kubernetes.client.CustomObjectsApi(cluster.api)

    def create(name: str) -> None:
        api.create_namespaced_custom_object("igpo.dev", "v1alpha1", NAMESPACE, PLURAL, manifest(name, pods))

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(create, names))


def running(cluster: Cluster) -> int:
    """How many runs say that they are Running."""
    api = kubernetes.client.CustomObjectsApi(cluster.api)
    runs = api.list_namespaced_custom_object("igpo.dev", "v1alpha1", NAMESPACE, PLURAL)["items"]
    return sum(run.get("status", {}).get("phase") == "Running" for run in runs)


def owner(request: Request, names: frozenset[str]) -> str | None:
    """The run that a write belongs to, by the name of what was written."""
    match = re.search(r"run-\d{5}", request.name)  # a Service's name begins with its kind
    return match.group() if match and match.group() in names else None


def writes_by_run(requests: Sequence[Request], names: frozenset[str]) -> dict[str, Counter[str]]:
    """Successful writes of the operator, by run and by what was written."""
    found: dict[str, Counter[str]] = {name: Counter() for name in names}
    for request in requests:
        name = owner(request, names)
        if name is not None and request.code < 300:
            found[name][RESOURCES.get(request.resource, request.resource)] += 1
    return found


def seconds_to_pods(requests: Sequence[Request], names: frozenset[str], pods: int) -> list[float]:
    """From the creation of each run to that of its last pod, as the apiserver saw both."""
    applied: dict[str, float] = {}
    created: dict[str, list[float]] = {}
    for request in requests:
        name = owner(request, names)
        if name is None or request.code >= 300 or request.verb != "create":
            continue
        if request.resource == PLURAL:
            applied[name] = request.at.timestamp()
        elif request.resource == "pods":
            created.setdefault(name, []).append(request.at.timestamp())
    return [max(times) - applied[name] for name, times in created.items() if len(times) >= pods]


def scraped(port: int) -> str:
    """The operator's metrics."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        return answer.read().decode()


def quantile(metrics: str, family: str, share: float) -> float:
    """Quantile of a histogram over all its series: the upper bound of the bucket that it falls into, in seconds."""
    buckets: Counter[float] = Counter()
    for bound, count in re.findall(rf'^{family}_bucket{{.*le="([^"]+)".*}} (\S+)$', metrics, re.MULTILINE):
        buckets[float(bound)] += float(count)
    total = buckets[math.inf]
    return next((bound for bound in sorted(buckets) if buckets[bound] >= share * total), math.nan)


def peak_memory_mib(pid: int) -> float:
    """Highest resident size so far."""
    line = next(text for text in Path(f"/proc/{pid}/status").read_text().splitlines() if text.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def measure(cluster: Cluster, options: argparse.Namespace) -> dict[str, Any]:
    """One experiment on a running control plane."""
    names = [f"run-{index:05d}" for index in range(options.runs)]
    known = frozenset(names)
    cluster.apply_crds(ROOT / "crds")
    cluster.create_namespace(NAMESPACE)
    nodes = math.ceil(options.runs * options.pods / PODS_PER_NODE) + 1
    kwok.add_nodes(cluster, *(f"node-{index}" for index in range(nodes)), gpus=8 * PODS_PER_NODE, pods=PODS_PER_NODE)
    cluster.apply(*(volume(name) for name in names))
    (port,) = free_ports(1)
    mark = cluster.audit.mark()
    operator = start_operator(cluster, cluster.folder, port)
    try:
        until(lambda: alive(operator, port), "the operator's metrics", within=60)
        idle = peak_memory_mib(operator.pid)
        began = time.monotonic()
        create_runs(cluster, names, options.pods)
        until(lambda: running(cluster) == options.runs, "every run Running", within=60 + 2 * options.runs, every=2)
        to_running = time.monotonic() - began
        requests = list(mark.requests())
        metrics = scraped(port)
        steady = cluster.audit.mark()
        until_steady = time.monotonic() + options.steady_seconds
        until(
            lambda: time.monotonic() > until_steady, "the end of the watch", within=options.steady_seconds + 60, every=1
        )
        quiet = [r for r in steady.writes(USER, NAMESPACE) if r.resource != "leases"]
        memory = peak_memory_mib(operator.pid)
    finally:
        operator.terminate()
        operator.wait(30)
    own = [request for request in requests if request.write and request.user == USER]
    by_run = writes_by_run(own, known)
    waits = seconds_to_pods([request for request in requests if request.write], known, options.pods)
    return figures(options, by_run, waits) | {
        "seconds_to_all_running": round(to_running, 1),
        "reconcile_p50_seconds": quantile(metrics, "igpo_operator_reconcile_duration_seconds", 0.5),
        "reconcile_p99_seconds": quantile(metrics, "igpo_operator_reconcile_duration_seconds", 0.99),
        "steady_writes": len(quiet),
        "steady_seconds": options.steady_seconds,
        "idle_memory_mib": round(idle, 1),
        "peak_memory_mib": round(memory, 1),
    }


def volume(name: str) -> dict[str, Any]:
    """A volume for one run's claim."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "1Ti"},
            "accessModes": ["ReadWriteMany"],
            "hostPath": {"path": f"/nowhere/{name}"},
            "claimRef": {"namespace": NAMESPACE, "name": f"{name}-igpo"},
        },
    }


def alive(operator: subprocess.Popen[bytes], port: int) -> bool:
    """Whether the operator serves its metrics; raises when it has ended."""
    if operator.poll() is not None:
        raise SystemExit(f"the operator ended with {operator.returncode}; its log is in the folder of the cluster")
    try:
        return "igpo_operator" in scraped(port)
    except OSError:
        return False


def figures(options: argparse.Namespace, by_run: Mapping[str, Counter[str]], waits: Sequence[float]) -> dict[str, Any]:
    """What the audit log says."""
    totals = [sum(counts.values()) for counts in by_run.values()]
    worst = {
        what: max(counts[what] for counts in by_run.values()) for what in ("pods", "children", "statuses", "events")
    }
    return {
        "runs": options.runs,
        "pods_per_run": options.pods,
        "apply_to_pods_p50_seconds": round(statistics.median(waits), 2),
        "apply_to_pods_max_seconds": round(max(waits), 2),
        "writes_per_run_mean": round(statistics.fmean(totals), 2),
        "writes_per_run_max": max(totals),
        "writes_per_run_allowed": options.pods + CHILDREN + STATUSES + EVENTS,
        "writes_per_run_worst": worst,
    }


def missed(result: Mapping[str, Any]) -> list[str]:
    """Bars that the figures do not meet."""
    bars = BARS | {"writes_per_run_max": result["writes_per_run_allowed"]}
    return [f"{name} is {result[name]}, the bar is {bar}" for name, bar in bars.items() if not result[name] <= bar]


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200, help="number of runs (default: %(default)s)")
    parser.add_argument("--pods", type=int, default=8, help="pods of each (default: %(default)s)")
    parser.add_argument("--steady-seconds", type=int, default=60, help="how long to watch (default: %(default)s)")
    options = parser.parse_args()
    with ControlPlane(Options(name="scale", kwok=True)) as cluster:
        result = measure(cluster, options)
    problems = missed(result)
    print(json.dumps(result | {"missed": problems}, indent=2))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
