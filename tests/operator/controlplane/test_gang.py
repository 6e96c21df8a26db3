"""Gangs that compete for what is not enough for both."""

from igpo_cluster.waiting import until
from operatorworld.process import OperatorProcess
from operatorworld.runs import Team, sft


def test_two_runs_of_two_gpus_both_complete_on_three(team: Team, node: str, operator: OperatorProcess) -> None:
    policy = {"preRunningDeadlineSeconds": 5}
    team.apply(*(sft(name, gpus=1, runPolicy=policy) for name in ("first", "second")))
    left = {"first", "second"}
    while left:
        name = until(lambda: _running(team, left), f"{' or '.join(left)} to run", within=60, every=0.3)
        assert team.status(name)["phase"] == "Running"
        team.end_all(name, team.status(name)["attempt"]["number"])
        team.wait_for_phase(name, "Complete")
        left.discard(name)
    for name in ("first", "second"):
        status = team.status(name)
        assert status["budget"]["charged"] == 0
        assert status["restarts"]["application"] == 0


def _running(team: Team, names: set[str]) -> str | None:
    return next((name for name in sorted(names) if team.status(name).get("phase") == "Running"), None)
