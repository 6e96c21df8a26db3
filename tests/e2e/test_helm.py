"""The chart's own test trains, and leaves nothing behind."""

from igpo_cluster.cluster import Cluster
from igpo_e2e.operator import NAMESPACE, Operator


def test_helm_test_trains_a_run_and_leaves_nothing_behind(cluster: Cluster, operator: Operator) -> None:
    output = operator.helm("test", "igpo", "--namespace", NAMESPACE, "--timeout", "4m")
    assert "Phase:          Succeeded" in output
    assert not cluster.items("igpotrainings", "-n", NAMESPACE)
    for kind in ("jobs", "roles", "rolebindings"):
        names = [item["metadata"]["name"] for item in cluster.items(kind, "-n", NAMESPACE)]
        assert not [name for name in names if name.endswith("-test")], kind
