"""Things that go wrong on a cluster, done on purpose."""

from pathlib import Path
from typing import Any

from igpo_cluster.cluster import Cluster
from igpo_e2e.manifests import Manifest, merged
from igpo_e2e.run import Body, Run
from igpo_trainer.spec.contract import VOLUME_PATH

_MODULE = "faults"
_REWARD = f'''"""A reward that fails for as long as a file lies on the run's volume."""
from pathlib import Path

def fragile(prompt: str, completion: str, answer: str) -> float:
    if Path("{VOLUME_PATH}/broken").exists():
        raise RuntimeError("the test has broken this reward")
    return 0.0
'''


def evict(cluster: Cluster, pod: Body) -> None:
    """Ask for an eviction, as `kubectl drain` does."""
    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": namespace}}
    cluster.kubectl("create", "--raw", f"/api/v1/namespaces/{namespace}/pods/{name}/eviction", "-f", "-", stdin=body)


def fragile(cluster: Cluster, namespace: str, manifest: Manifest) -> Manifest:
    """The manifest with a reward that `break_reward` breaks: the trainer then ends with exit code 1."""
    data = {"faults.py": _REWARD}
    cluster.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": _MODULE}, "data": data}, namespace=namespace
    )
    changes: dict[str, Any] = {
        "rewards": {"custom": {f"{_MODULE}:fragile": 1.0}},
        "workers": {
            "env": [*manifest["spec"]["workers"]["env"], {"name": "PYTHONPATH", "value": f"/{_MODULE}"}],
            "volumes": [{"name": _MODULE, "configMap": {"name": _MODULE}}],
            "volumeMounts": [{"name": _MODULE, "mountPath": f"/{_MODULE}", "readOnly": True}],
        },
    }
    return {**manifest, "spec": merged(manifest["spec"], changes)}


def break_reward(run: Run) -> None:
    """From now on every reward of a `fragile` run fails."""
    (volume_folder(run) / "broken").touch()


def volume_folder(run: Run) -> Path:
    """Where the run's volume lies on this machine: the node's hostPath."""
    claim = run.status()["resolved"]["claimName"]
    volume = run.cluster.get("pvc", claim, "-n", run.namespace)["spec"]["volumeName"]
    return Path(run.cluster.get("pv", volume)["spec"]["hostPath"]["path"])


def run_folder(run: Run) -> Path:
    """The run's own folder on its volume."""
    return volume_folder(run) / run.kind / run.name
