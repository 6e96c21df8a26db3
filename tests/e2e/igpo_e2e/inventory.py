"""What is in a cluster, to see what an uninstalled release has left."""

from igpo_cluster.cluster import Cluster

OF_EVERY_NAMESPACE = {("ServiceAccount", "default"), ("ConfigMap", "kube-root-ca.crt")}


def inventory(cluster: Cluster, namespace: str) -> set[tuple[str, str]]:
    """Kind and name of everything in a namespace but events and what every namespace has."""
    kinds = [kind for kind in _kinds(cluster, namespaced=True) if not kind.startswith("events")]
    found = cluster.items(",".join(kinds), "-n", namespace)
    return {(item["kind"], item["metadata"]["name"]) for item in found} - OF_EVERY_NAMESPACE


def of_releases(cluster: Cluster) -> set[tuple[str, str]]:
    """Kind and name of everything outside of namespaces that helm made."""
    items = cluster.items(",".join(_kinds(cluster, namespaced=False)))
    owned = [item for item in items if "meta.helm.sh/release-name" in item["metadata"].get("annotations", {})]
    return {(item["kind"], item["metadata"]["name"]) for item in owned}


def _kinds(cluster: Cluster, *, namespaced: bool) -> list[str]:
    scope = f"--namespaced={str(namespaced).lower()}"
    return cluster.kubectl("api-resources", "--verbs=list", scope, "-o", "name", "--cached=false").split()
