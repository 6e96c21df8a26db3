"""Watches that are silently dead: runs go on by full listings, and the probe says what is wrong."""

from collections.abc import Callable
from pathlib import Path

from igpo_cluster.waiting import until
from operatorworld.process import OperatorProcess
from operatorworld.proxy import Door
from operatorworld.runs import Team, sft


def test_an_operator_whose_watches_are_dead_works_on_by_listings_and_fails_its_probe(
    team: Team, node: str, operators: Callable[..., OperatorProcess], tmp_path: Path
) -> None:
    with Door(team.cluster.kubeconfig, lambda _write: None) as door:
        through = door.kubeconfig_for_operator(tmp_path / "door.kubeconfig")
        quick = {"stale_seconds": "3", "resync_seconds": "1"}
        operator = operators(through, namespaces=team.namespace, **quick).start()
        team.apply(sft("first"))
        team.wait_for_phase("first", "Running")
        assert operator.page("/healthz") == (200, "ok\n")
        door.mute = True
        team.apply(sft("second"))
        team.wait_for_phase("second", "Running")
        code, reason = until(lambda: _sick(operator), "the probe to fail", every=0.2)
        assert code == 503
        assert "a watch has missed a known change" in reason
        operator.kill()


def _sick(operator: OperatorProcess) -> tuple[int, str] | None:
    code, reason = operator.page("/healthz")
    return (code, reason) if code != 200 else None
