"""The node dies: pods that nobody will ever end are forced away, and the gang moves on."""

from igpo_cluster.cluster import Cluster
from igpo_cluster.full import FullCluster
from igpo_cluster.waiting import until
from igpo_e2e.manifests import RL, slow
from igpo_e2e.run import Run


def test_pods_of_a_dead_node_are_forced_away_and_the_gang_restarts(
    full: FullCluster, cluster: Cluster, training: str
) -> None:
    policy = {"backoffLimit": 0, "terminationGracePeriodSeconds": 10}
    run = Run(cluster, RL, training, "stranded").apply(slow("stranded", steps=40, runPolicy=policy))
    run.wait_checkpoint(2)
    with full.kubelet_stopped():
        cluster.kubectl("wait", "node", "--all", "--for=condition=Ready=Unknown", "--timeout=90s")
        cluster.kubectl("delete", "pod", run.pod(1)["metadata"]["name"], "-n", training, "--wait=false")
        until(lambda: not run.pods(1), "the end of the dead node's pods", within=150, every=0.5)
        assert "PodForceDeleted" in {event["reason"] for event in run.events()}
    status = run.wait_complete()

    assert status["attempt"]["number"] >= 2
    assert status["attempts"][0]["class"] in ("Deleted", "NodeLost")
    assert status["restarts"].get("application", 0) == 0
