"""One operator at a time, in one namespace and in all."""

from collections.abc import Callable

import pytest

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


@pytest.mark.timeout(180)
def test_an_operator_of_all_namespaces_leaves_those_alone_that_have_their_own(
    team: Team, node: str, operators: Callable[..., OperatorProcess]
) -> None:
    home, theirs = f"{team.namespace}-home", f"{team.namespace}-theirs"
    for name in (home, theirs):
        team.cluster.create_namespace(name)
    other = Team(team.cluster, theirs)
    own = operators(team.cluster.kubeconfig, namespaces=theirs, identity="own").start()
    own.wait_for_log("holding the Lease")
    wide = operators(team.cluster.kubeconfig, own_namespace=home, identity="wide").start()
    wide.wait_for_log(f"namespace {theirs} has an operator of its own")
    wide.wait_for_log("holding the Lease")
    try:
        team.apply(sft("tiny"))
        other.apply(sft("tiny", replicas=1))
        team.wait_for_phase("tiny", "Running")
        other.wait_for_phase("tiny", "Running")
        assert theirs not in wide.log.split("has an operator of its own")[1]
        assert own.stop() == 0
        wide.wait_for_log(f"namespace {theirs} has no operator of its own any more")
        other.end_all("tiny", 1, replicas=1)
        other.wait_for_phase("tiny", "Complete")
    finally:
        wide.stop()
        for name in (home, theirs):
            team.cluster.delete_namespace(name)
