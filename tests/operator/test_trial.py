"""The run that `helm test` trains."""

import pytest
from ruamel.yaml import YAML

from igpo_operator.api.kinds import IGPO_TRAINING
from igpo_operator.api.reasons import Phase
from igpo_operator.api.spec import spec_of
from igpo_operator.apply.view import run_of
from igpo_operator.trial import TINY, Trial, TrialError, main, verdict
from igpo_trainer.spec.manifest import load_manifest
from operatorworld.bodies import run_body


def test_the_trial_is_a_run_that_both_readers_accept(tmp_path):
    document = Trial("team").manifest("trial-1")
    with (tmp_path / "trial.yaml").open("w") as file:
        YAML(typ="safe").dump(document, file)
    (run,) = load_manifest(tmp_path / "trial.yaml")
    assert run.spec.steps == 4
    assert spec_of(IGPO_TRAINING, document["spec"]).cluster.storage.retain_policy == "Delete"


def test_changes_are_merged_into_the_run_map_by_map_and_leave_the_next_one_alone():
    changes = {"storage": {"storageClassName": "fast"}, "workers": {"replicas": 1}}
    spec = Trial("team", changes).manifest("trial-1")["spec"]
    assert spec["storage"] == {"size": "1Gi", "retainPolicy": "Delete", "storageClassName": "fast"}
    assert spec["workers"] == {"replicas": 1}
    assert "storageClassName" not in TINY["storage"]


def test_a_run_is_waited_for_until_it_is_complete():
    assert not verdict(run_of(run_body(kind="IGPOTraining")))
    assert not verdict(_run(Phase.RESTARTING))
    assert verdict(_run(Phase.COMPLETE))


def test_a_run_that_has_failed_is_told_with_its_last_words():
    attempt = {"number": 1, "class": "Application", "endedAt": "2026-11-24T12:00:00Z", "lastLines": ["one", "two"]}
    with pytest.raises(TrialError, match=r"^the run failed: rank 0 exited with 1\n  \| one\n  \| two$"):
        verdict(_run(Phase.FAILED, message="rank 0 exited with 1", attempts=[attempt]))


def test_a_run_goes_with_the_pod_that_tries():
    (owner,) = Trial("team", owner=("pod", "uid-1")).manifest("trial-1")["metadata"]["ownerReferences"]
    assert owner == {"apiVersion": "v1", "kind": "Pod", "name": "pod", "uid": "uid-1"}
    assert "ownerReferences" not in Trial("team").manifest("trial-1")["metadata"]


@pytest.mark.parametrize("words", ["--spec=[]", "--spec={", "--spec=3", "--owner=pod", "--owner=/uid"])
def test_an_argument_that_cannot_be_read_is_named(words, capsys):
    with pytest.raises(SystemExit):
        main([words])
    assert f"argument {words.partition('=')[0]}" in capsys.readouterr().err


def _run(phase, **status):
    return run_of(run_body(kind="IGPOTraining", status={"phase": phase.value, **status}))
