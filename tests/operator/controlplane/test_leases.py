"""One operator at a time in a namespace; `test_install` has those that work in all."""

from collections.abc import Callable

from operatorworld.process import OperatorProcess
from operatorworld.runs import Team, sft


def test_of_two_operators_one_works_and_the_other_takes_over_when_it_is_gone(
    team: Team, node: str, operators: Callable[..., OperatorProcess]
) -> None:
    first = operators(team.cluster.kubeconfig, namespaces=team.namespace, identity="first").start()
    first.wait_for_log("holding the Lease")
    second = operators(team.cluster.kubeconfig, namespaces=team.namespace, identity="second").start()
    second.wait_for_log("probes on port")
    team.apply(sft("tiny"))
    team.wait_for_phase("tiny", "Running")
    assert "phase" not in second.log
    assert second.page("/healthz")[0] == 200
    first.kill()
    second.wait_for_log("holding the Lease")
    team.end_all("tiny", 1)
    team.wait_for_phase("tiny", "Complete")
    assert team.status("tiny")["attempt"]["number"] == 1
