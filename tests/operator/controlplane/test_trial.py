"""`python -m igpo_operator.trial`, as the chart's test runs it: with the rights of its Role and no others."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from chartworld.helm import every, rendered
from igpo_cluster.waiting import until
from operatorworld.process import OperatorProcess
from operatorworld.runs import Team

pytestmark = pytest.mark.timeout(300)  # the first test may have to build helm


@pytest.fixture
def account(team: Team) -> Path:
    """A kubeconfig of the test's service account, with the rights that the chart gives it."""
    objects = rendered(namespace=team.namespace)
    tests = [item for item in objects if "helm.sh/hook" in item["metadata"].get("annotations", {})]
    rights = [item for kind in ("Role", "RoleBinding") for item in every(tests, kind)]
    assert len(rights) == 2
    team.cluster.apply(*rights)
    return team.cluster.user(f"system:serviceaccount:{team.namespace}:igpo-igpo-operator-test")


def _start(account: Path, team: Team, *words: str) -> "subprocess.Popen[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("IGPO_", "KUBERNETES_"))}
    command = [sys.executable, "-m", "igpo_operator.trial", f"--namespace={team.namespace}", *words]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, env=environment | {"KUBECONFIG": str(account)}, stdout=pipe, stderr=pipe, text=True
    )


def _runs(team: Team) -> list[str]:
    return [run["metadata"]["name"] for run in team.cluster.items("igpotrainings", f"--namespace={team.namespace}")]


def _claims(team: Team) -> list[str]:
    """Claims that stay: one in use, on paper, is let go later."""
    claims = team.cluster.items("persistentvolumeclaims", f"--namespace={team.namespace}")
    return [claim["metadata"]["name"] for claim in claims if "deletionTimestamp" not in claim["metadata"]]


def _wait_for_pod(team: Team) -> str:
    def running() -> str | None:
        pods = {name: pod for name, pod in team.pods().items() if pod["status"]["phase"] == "Running"}
        return next(iter(pods), None)

    return until(running, "the trial's pod to run", 60, every=0.2)


def _end(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    output, errors = process.communicate(timeout=60)
    return process.returncode, output, errors


def test_a_trial_trains_says_so_and_leaves_nothing_behind(
    team: Team, node: str, operator: OperatorProcess, account: Path
) -> None:
    process = _start(account, team, '--spec={"storage": {"accessModes": ["ReadWriteMany"]}}')
    pod = _wait_for_pod(team)
    assert pod.startswith("trial-")
    team.end(pod, 0, step=4)
    code, output, errors = _end(process)
    assert (code, errors) == (0, "")
    assert "Complete: " in output
    assert "trained to its end in" in output
    assert not _runs(team)
    until(lambda: not team.pods(), "the pods to be collected", 60, every=0.2)
    claims = lambda: team.cluster.items("persistentvolumeclaims", f"--namespace={team.namespace}")  # noqa: E731
    until(
        lambda: all("deletionTimestamp" in claim["metadata"] for claim in claims()), "the volume to go", 60, every=0.2
    )


def test_a_trial_that_fails_says_why_and_leaves_nothing_behind(
    team: Team, node: str, operator: OperatorProcess, account: Path
) -> None:
    process = _start(account, team)
    reason = "the volume is not writable for uid 65532"
    team.end(_wait_for_pod(team), 64, reason=reason, last_lines=["OSError: [Errno 30]"])
    code, _, errors = _end(process)
    assert code == 1
    assert "igpo trial: the run failed: " in errors
    assert reason in errors
    assert "  | OSError: [Errno 30]" in errors
    assert not _runs(team)


def test_a_trial_that_is_stopped_deletes_its_run(team: Team, account: Path) -> None:
    process = _start(account, team)
    until(lambda: _runs(team), "the run", 60, every=0.2)
    process.send_signal(signal.SIGTERM)
    code, _, errors = _end(process)
    assert (code, errors) == (1, "igpo trial: stopped; the run is deleted\n")
    assert not _runs(team)


def test_the_run_of_a_trial_that_was_killed_goes_with_its_pod(team: Team, node: str, account: Path) -> None:
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": True}
    container = {
        "name": "trial",
        "image": "x",
        "securityContext": security | {"seccompProfile": {"type": "RuntimeDefault"}},
    }
    team.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "tries"}, "spec": {"containers": [container]}})
    uid = team.pods()["tries"]["metadata"]["uid"]
    process = _start(account, team, f"--owner=tries/{uid}")
    until(lambda: _runs(team), "the run", 60, every=0.2)
    process.kill()
    _end(process)
    assert _runs(team)
    team.cluster.kubectl("delete", "pod", "tries", f"--namespace={team.namespace}", "--force", "--grace-period=0")
    until(lambda: not _runs(team), "the run to be collected", 60, every=0.2)


def test_where_no_operator_works_a_trial_says_so(team: Team, account: Path) -> None:
    code, _, errors = _end(_start(account, team, "--timeout=2"))
    assert code == 1
    assert f"not complete after 2 s, and nobody looked at it: does an operator work in {team.namespace}?" in errors
    assert not _runs(team)


def test_without_the_right_to_create_runs_a_trial_says_who_may_not(team: Team) -> None:
    stranger = team.cluster.user("stranger")
    code, _, errors = _end(_start(stranger, team))
    assert code == 1
    assert 'User "stranger" cannot create resource "igpotrainings"' in errors
