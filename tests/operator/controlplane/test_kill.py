"""kill -9 right behind every single write: what comes of it is what would have come of an undisturbed life."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from igpo_cluster.waiting import until
from operatorworld.process import OperatorProcess
from operatorworld.proxy import Door, Write
from operatorworld.runs import Team, sft


@pytest.mark.timeout(300)
def test_an_operator_killed_behind_every_write_loses_no_attempt_and_makes_no_pod_twice(
    team: Team, node: str, operators: Callable[..., OperatorProcess], tmp_path: Path
) -> None:
    operator: OperatorProcess

    def kill(_: Write) -> None:
        operator.kill()

    with Door(team.cluster.kubeconfig, kill) as door:
        through = door.kubeconfig_for_operator(tmp_path / "door.kubeconfig")
        operator = operators(through, namespaces=team.namespace, identity="the-same-pod")
        team.apply(sft("tiny"))
        _live(operator, lambda: team.status("tiny").get("phase") == "Running")
        team.end("tiny-lasft-a1-1", 1, step=5)
        _live(operator, lambda: _running(team, 2))
        team.end_all("tiny", 2)
        _live(operator, lambda: team.status("tiny").get("phase") == "Complete")
        operator.kill()

    status = team.status("tiny")
    assert status["attempt"]["number"] == 2
    first = status["attempts"][0]
    assert (first["number"], first["class"], first["exitCode"]) == (1, "Application", 1)
    assert status["restarts"] == {
        "total": 1, "application": 1, "infrastructure": 0, "scheduling": 0, "suspended": 0
    }  # fmt: skip
    created = Counter(write.path for write in door.writes if write.method == "POST" and write.path.endswith("/pods"))
    assert sum(created.values()) == 4, door.writes
    assert len(door.writes) > 15


def _live(operator: OperatorProcess, done: Callable[[], bool]) -> None:
    """Start the operator again whenever it was killed, until something has come true."""

    def probe() -> bool:
        if done():
            return True
        if not operator.running:
            operator.kill()
            operator.start()
        return False

    until(probe, "the run to get there, whatever happens to the operator", within=140, every=0.2)


def _running(team: Team, attempt: int) -> bool:
    status = team.status("tiny")
    return bool(status["phase"] == "Running" and status["attempt"]["number"] == attempt)
