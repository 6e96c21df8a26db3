"""`igpo describe` and `igpo status` against a real API server, with a kubeconfig of the user's."""

import json
from pathlib import Path

import pytest

from igpo_trainer.spec.errors import RunError
from operatorworld.process import OperatorProcess
from operatorworld.runs import Team, igpo, sft


def test_describe_says_why_a_run_does_not_train_and_status_lists_all(
    team: Team, node: str, operator: OperatorProcess
) -> None:
    team.apply(sft("greedy", gpus=8), sft("tiny"))
    team.wait_for_condition("greedy", "Reconciling", "Unschedulable")
    team.wait_for_phase("tiny", "Running")
    text = igpo(team, "describe", "greedy", "-n", team.namespace)
    for words in ("Starting", "Insufficient nvidia.com/gpu", "greedy-lasft-a1-0", "AttemptStarted", "next:"):
        assert words in text, text
    table = igpo(team, "status", "-n", team.namespace)
    assert "greedy" in table
    assert "Running" in table


def test_a_run_that_does_not_exist_is_one_line(team: Team) -> None:
    with pytest.raises(RunError, match="no LengthAlignedSFT none in namespace"):
        igpo(team, "describe", "none", "-n", team.namespace, "--kind", "lasft")


def test_describe_looks_in_the_namespace_of_the_context_as_kubectl_does(team: Team, tmp_path: Path) -> None:
    team.apply(sft("here"))
    config = json.loads(team.cluster.kubeconfig.read_text())
    [context] = config["contexts"]
    with pytest.raises(RunError, match="no LengthAlignedSFT here in namespace default"):
        igpo(team, "describe", "here", "--kind", "lasft")
    config["contexts"].append({"name": "theirs", "context": context["context"] | {"namespace": team.namespace}})
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(json.dumps(config))
    assert "here" in igpo(team, "describe", "here", "--context", "theirs", kubeconfig=kubeconfig)
    kubeconfig.write_text(json.dumps(config | {"current-context": "theirs"}))
    assert "here" in igpo(team, "describe", "here", kubeconfig=kubeconfig)
