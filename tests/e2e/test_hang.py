"""A gang that stands still is a hang; one that is only slow is not."""

import signal

import pytest

from igpo_cluster.cluster import Cluster
from igpo_e2e.manifests import RL, slow
from igpo_e2e.ranks import rank_process
from igpo_e2e.run import Run

STALL_SECONDS = 25


@pytest.mark.parametrize("rank", [0, 1])
def test_a_stopped_rank_is_a_hang_and_the_gang_restarts(cluster: Cluster, training: str, rank: int) -> None:
    policy = {"stallTimeoutSeconds": STALL_SECONDS, "terminationGracePeriodSeconds": 10}
    run = Run(cluster, RL, training, f"stopped-{rank}").apply(slow(f"stopped-{rank}", steps=8, runPolicy=policy))
    run.wait_step(2)
    rank_process(run, rank).send(signal.SIGSTOP)
    status = run.wait_complete(within=200)

    assert status["attempt"]["number"] == 2
    assert status["attempts"][0]["class"] == "Hang"
    assert status["restarts"]["application"] == 1


def test_an_evaluation_longer_than_the_timeout_is_no_hang(cluster: Cluster, training: str) -> None:
    long = {"everySteps": 0, "datasets": [{"source": "holdout", "samples": 128, "temperature": 1.0}]}
    dataset = {"holdout": {"rows": 150}, "wordProblems": {"rows": 400}}
    policy = {"stallTimeoutSeconds": STALL_SECONDS}
    manifest = slow("thorough", steps=1, evaluation=long, dataset=dataset, runPolicy=policy)
    run = Run(cluster, RL, training, "thorough").apply(manifest)
    status = run.wait_complete(within=240)

    assert status["runningSeconds"] > 2 * STALL_SECONDS, "otherwise nothing was shown"
    assert status["attempt"]["number"] == 1
