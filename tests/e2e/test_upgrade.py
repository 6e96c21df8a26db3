"""An upgrade of the chart never changes a run that has begun."""

import signal

from igpo_cluster.cluster import Cluster
from igpo_e2e.manifests import RL, slow
from igpo_e2e.operator import Operator
from igpo_e2e.ranks import rank_process
from igpo_e2e.run import Run


def test_after_an_upgrade_a_restarted_gang_has_the_old_image(
    cluster: Cluster, operator: Operator, training: str
) -> None:
    run = Run(cluster, RL, training, "steady").apply(slow("steady", steps=24))
    run.wait_checkpoint(2)
    image = run.pod(0)["spec"]["containers"][0]["image"]
    operator.install(trainerImage={"tag": "next"})
    try:
        rank_process(run, 1).send(signal.SIGKILL)
        status = run.wait_complete()
    finally:
        operator.install()

    assert status["attempt"]["number"] == 2
    assert status["resolved"]["image"] == image
    assert {pod["spec"]["containers"][0]["image"] for pod in run.pods(2)} == {image}
