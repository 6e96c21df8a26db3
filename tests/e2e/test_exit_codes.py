"""What the trainer's exit means: never retried, or charged; its own line is what people read."""

from igpo_cluster.cluster import Cluster
from igpo_e2e.faults import break_reward, fragile
from igpo_e2e.manifests import RL, slow
from igpo_e2e.run import Run, condition


def test_exit_64_is_never_retried_and_its_own_line_is_in_status(cluster: Cluster, training: str) -> None:
    run = Run(cluster, RL, training, "flex").apply(slow("flex", model={"attention": "Flex"}))
    status = run.wait_failed("InvalidRun")

    assert status["attempt"]["number"] == 1
    assert status["attempt"]["ending"]["exitCode"] == 64
    failed = condition(run.body(), "Failed")
    assert "model.attention Flex cannot train without a GPU; set SDPA or Eager" in failed["message"]
    assert condition(run.body(), "Stalled")["status"] == "True"
    assert len(run.pods()) == 2, "finished pods are kept for their logs"


def test_exit_65_is_never_retried(cluster: Cluster, training: str) -> None:
    rows = '{"question": "1 + 1 =", "answer":\n'
    cluster.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "rows"}, "data": {"train.jsonl": rows}},
        namespace=training,
    )
    mount = {
        "volumes": [{"name": "rows", "configMap": {"name": "rows"}}],
        "volumeMounts": [{"name": "rows", "mountPath": "/rows", "readOnly": True}],
    }
    dataset = {"source": "/rows/train.jsonl", "wordProblems": None}
    run = Run(cluster, RL, training, "no-answers").apply(slow("no-answers", dataset=dataset, workers=mount))
    status = run.wait_failed("InvalidData")

    assert status["attempt"]["number"] == 1
    assert status["attempt"]["ending"]["exitCode"] == 65
    assert "/rows/train.jsonl" in condition(run.body(), "Failed")["message"]


def test_exit_1_is_charged_until_the_budget_is_gone(cluster: Cluster, training: str) -> None:
    manifest = slow("broken", checkpoints={"everySteps": 100}, runPolicy={"backoffLimit": 0})
    run = Run(cluster, RL, training, "broken").apply(fragile(cluster, training, manifest))
    run.wait_step(1)
    break_reward(run)
    status = run.wait_failed("BackoffLimitExceeded")

    assert status["attempt"]["ending"]["exitCode"] == 1
    assert "unjudged" in status["attempt"]["ending"]["message"] or "verdict" in status["attempt"]["ending"]["message"]
    assert status["restarts"].get("total", 0) == 0
