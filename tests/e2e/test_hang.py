"""A gang that stands still is a hang; one that is only slow is not."""

import json
import signal

import pytest

from igpo_cluster.cluster import Cluster
from igpo_e2e.faults import run_folder
from igpo_e2e.manifests import RL, SFT, slow, tiny
from igpo_e2e.ranks import rank_process
from igpo_e2e.run import Run

STALL_SECONDS = 30
SHORT_STALL_SECONDS = 20


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
    manifest = tiny(
        SFT,
        "thorough",
        training={"steps": 1},
        sampling={"steps": 24},
        evaluation={"datasets": [{"source": "holdout", "samples": 100, "temperature": 1.0}]},
        dataset={"holdout": {"rows": 150}, "wordProblems": {"rows": 400}},
        runPolicy={"stallTimeoutSeconds": SHORT_STALL_SECONDS},
    )
    run = Run(cluster, SFT, training, "thorough").apply(manifest)
    status = run.wait_complete(within=400)

    assert _longest_evaluation(run) > SHORT_STALL_SECONDS, "otherwise nothing was shown"
    assert status["attempt"]["number"] == 1


def _longest_evaluation(run: Run) -> float:
    records = map(json.loads, (run_folder(run) / "metrics.jsonl").read_text().splitlines())
    return max(record["time"]["seconds"] for record in records if record["event"] == "evaluation")
