"""A run's life on a real API server, with nodes and pods of kwok."""

from igpo_cluster.waiting import until
from operatorworld.process import OperatorProcess
from operatorworld.runs import Team, sft


def test_a_run_is_applied_runs_and_completes_and_its_pods_are_never_created_again(
    team: Team, node: str, operator: OperatorProcess
) -> None:
    audit = team.cluster.audit.mark()
    team.apply(sft("tiny"))
    status = team.wait_for_phase("tiny", "Running")
    assert sorted(team.pods()) == ["tiny-lasft-a1-0", "tiny-lasft-a1-1"]
    assert status["attempt"]["number"] == 1
    assert status["replicas"] == {"desired": 2, "running": 2, "finished": 0}
    writes = [w for w in audit.writes(namespace=team.namespace) if w.agent.startswith("igpo-operator")]
    by_resource = [w.resource for w in writes if w.resource != "leases"]
    assert by_resource.count("pods") == 2
    assert by_resource.count("lengthalignedsfts/status") <= 4
    assert by_resource.count("events") <= 3
    assert len(by_resource) <= 2 + 4 + 4 + 3

    team.end_all("tiny", 1)
    status = team.wait_for_phase("tiny", "Complete")
    team.cluster.kubectl(
        "wait", "--for=condition=Complete", "lengthalignedsft/tiny", f"--namespace={team.namespace}", "--timeout=5s"
    )
    assert status["progress"]["step"] == 30
    audit = team.cluster.audit.mark()
    team.cluster.kubectl("delete", "pods", "--all", f"--namespace={team.namespace}")
    until(lambda: not team.pods(), "the pods to be gone")
    operator.stop()
    operator.start().wait_for_log("holding the Lease")
    until(lambda: _reconciles(operator) >= 1, "the run to be looked at again")
    code, page = operator.page("/metrics")
    assert not team.pods()
    assert not [w for w in audit.writes(namespace=team.namespace) if w.resource == "pods" and w.verb == "create"]
    labels = f'kind="LengthAlignedSFT",namespace="{team.namespace}",phase="Complete",training="tiny"'
    assert code == 200
    assert f"igpo_operator_run_status_phase{{{labels}}} 1.0" in page


def test_a_rank_that_fails_ends_the_attempt_and_the_next_one_completes(
    team: Team, node: str, operator: OperatorProcess
) -> None:
    team.apply(sft("tiny"))
    team.wait_for_phase("tiny", "Running")
    team.end("tiny-lasft-a1-1", 1, step=5)
    until(lambda: team.status("tiny")["attempt"]["number"] == 2, "attempt 2", every=0.2)
    status = team.wait_for_phase("tiny", "Running")
    ended = status["attempts"][0]
    assert (ended["class"], ended["exitCode"], ended["rank"]) == ("Application", 1, 1)
    assert status["restarts"]["application"] == 1
    team.end_all("tiny", 2)
    team.wait_for_phase("tiny", "Complete")
    assert {name.rsplit("-", 2)[1] for name in team.pods()} == {"a2"}


def test_an_operator_that_is_told_to_stop_gives_its_lease_back_and_exits_with_0(
    team: Team, operator: OperatorProcess
) -> None:
    operator.wait_for_log("holding the Lease")
    assert operator.page("/healthz") == (200, "ok\n")
    assert operator.stop() == 0
    lease = team.cluster.get("lease", "igpo-operator", f"--namespace={team.namespace}")
    assert lease["spec"]["holderIdentity"] == ""


def _reconciles(operator: OperatorProcess) -> int:
    lines = operator.page("/metrics")[1].splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("igpo_operator_reconcile_total"))
