"""The demo manifest, as the README tells people to apply it."""

import pytest

from igpo_cluster.cluster import Cluster
from igpo_cluster.waiting import until
from igpo_e2e.manifests import DEMO, RL, SFT, documents
from igpo_e2e.operator import samples
from igpo_e2e.run import Run

pytestmark = pytest.mark.timeout(1500)
HEADLINES = {"igpo_reward_mean", "igpo_step_groups_ratio", "igpo_token_entropy_nats"}


def test_the_demo_learns_with_one_kubectl_apply(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl("apply", "--server-side", "-n", namespace, "-f", DEMO)
    names = [(document["kind"], document["metadata"]["name"]) for document in documents(DEMO)]
    runs = [Run(cluster, kind, namespace, name) for kind, name in names]
    assert {(RL, "word-problems"), (SFT, "word-problems")} <= set(names), "both kinds under one name"

    *before, rl = runs
    for run in before:
        run.wait_complete(within=900)
    rl.wait_step(8, within=300)
    address = f"http://{rl.pod(0)['status']['podIP']}:9400/metrics"
    metrics = until(lambda: samples(address), "metrics of the trainer", within=30)
    cluster.kubectl(
        "wait", "--for=condition=Complete", "igpo/word-problems", "-n", namespace, "--timeout=300s", timeout=330
    )

    assert set(metrics) >= HEADLINES
    status = rl.status()
    assert float(status["metrics"]["reward"]) > 0.3
    assert {"reward", "allWrongInitial", "allWrongFinal", "entropyHint", "accuracy"} <= set(status["metrics"])
    assert float(status["metrics"]["accuracy"]) > 0.4
    labels = cluster.get("namespace", namespace)["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
