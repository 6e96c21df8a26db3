"""`make e2e-smoke`: the chart is installed, the tiny chain trains, status and metrics are right."""

import pytest

from igpo_cluster.cluster import Cluster
from igpo_e2e.manifests import RL, SFT, TINY
from igpo_e2e.operator import Operator, samples
from igpo_e2e.run import Body, Run

pytestmark = pytest.mark.timeout(1800)  # the first test of a session waits for the cluster and the images


def test_the_tiny_chain_completes_by_one_kubectl_apply(cluster: Cluster, operator: Operator, namespace: str) -> None:
    before = operator.metrics()
    cluster.kubectl("apply", "--server-side", "-n", namespace, "-f", TINY)
    sft, rl = Run(cluster, SFT, namespace, "tiny"), Run(cluster, RL, namespace, "tiny")

    waiting = rl.wait_condition("Reconciling", reason="WaitingForSource", within=30)
    assert f"{SFT}" in waiting["message"]
    rl.wait_condition("Ready", within=400)
    trainer = samples(f"http://{rl.pod(0)['status']['podIP']}:9400/metrics")
    cluster.kubectl("wait", "--for=condition=Complete", "igpo/tiny", "-n", namespace, "--timeout=300s", timeout=330)

    _chain_is_right(sft.status(), rl.status())
    assert trainer["igpo_trainer_planned_steps"] == [({}, 6.0)]
    assert trainer["igpo_trainer_world_size"] == [({}, 2.0)]
    _operator_metrics_are_right(before, operator.metrics(), namespace)
    assert {event["reason"] for event in rl.events()} >= {"AttemptStarted", "Training", "Completed"}
    assert not [event for event in rl.events() if event["type"] == "Warning"]
    assert "step 6/6" in cluster.kubectl("logs", "tiny-igpo-a1-0", "-n", namespace), "finished pods keep their logs"
    row = cluster.kubectl("get", "igpo", "tiny", "-n", namespace, "--no-headers").split()
    assert row[:3] == ["tiny", "Complete", "6"]


def _chain_is_right(sft: Body, rl: Body) -> None:
    assert (sft["progress"]["step"], sft["progress"]["percentage"]) == (30, 100)
    assert (rl["progress"]["step"], rl["progress"]["percentage"]) == (6, 100)
    assert rl["checkpoint"]["step"] == 6
    assert rl["resolved"]["source"]["kind"] == SFT
    assert rl["resolved"]["source"]["digest"]
    assert rl["resolved"]["imageDigest"]
    assert 0 <= float(rl["metrics"]["reward"]) <= 1
    assert rl["attempt"]["number"] == 1
    assert rl["restarts"].get("total", 0) == 0
    kinds = {found["type"]: found["status"] for found in rl["conditions"]}
    assert (kinds["Complete"], kinds["Ready"]) == ("True", "True")
    assert "Reconciling" not in kinds
    assert "Stalled" not in kinds


def _operator_metrics_are_right(
    before: dict[str, list[tuple[dict[str, str], float]]],
    after: dict[str, list[tuple[dict[str, str], float]]],
    namespace: str,
) -> None:
    info = [labels for labels, _ in after["igpo_operator_run_info"] if labels["namespace"] == namespace]
    assert {labels["kind"] for labels in info} == {RL, SFT}
    reconciles = sum(value for _, value in after["igpo_operator_reconcile_total"])
    assert reconciles > sum(value for _, value in before.get("igpo_operator_reconcile_total", []))
