"""model.from: waiting for the run that is named, and for it to be done."""

from igpo_cluster.cluster import Cluster
from igpo_e2e.manifests import RL, SFT, tiny
from igpo_e2e.run import Run, condition


def test_a_run_waits_for_a_missing_source_and_starts_when_it_appears(cluster: Cluster, training: str) -> None:
    source = {"from": {"kind": SFT, "name": "late", "checkpoint": "Best"}}
    run = Run(cluster, RL, training, "early").apply(tiny(RL, "early", model=source, steps=2))
    waiting = run.wait_condition("Reconciling", within=20, reason="WaitingForSource")
    assert "late" in waiting["message"]
    assert run.status()["phase"] == "Waiting"
    assert run.pods() == []

    sft = Run(cluster, SFT, training, "late").apply(tiny(SFT, "late", training={"steps": 4}))
    run.wait_complete(within=240)
    assert run.status()["resolved"]["source"]["uid"] == sft.body()["metadata"]["uid"]
    assert run.status()["resolved"]["source"]["digest"] == sft.status()["bestCheckpoint"]["digest"]


def test_runs_that_wait_for_each_other_say_so(cluster: Cluster, training: str) -> None:
    runs = []
    for name, other in (("hen", "egg"), ("egg", "hen")):
        source = {"scratch": None, "from": {"kind": SFT, "name": other, "checkpoint": "Final"}}
        runs.append(Run(cluster, SFT, training, name).apply(tiny(SFT, name, model=source)))
    for run in runs:
        stalled = run.wait_condition("Stalled", within=20, reason="SourceCycle")
        assert "hen" in stalled["message"]
        assert "egg" in stalled["message"]
    for run in runs:
        run.delete()


def test_a_failed_source_stalls_the_run_that_waits_for_it(cluster: Cluster, training: str) -> None:
    bad = tiny(SFT, "hopeless", model={"attention": "Flex"})
    source = {"from": {"kind": SFT, "name": "hopeless", "checkpoint": "Final"}}
    Run(cluster, SFT, training, "hopeless").apply(bad)
    run = Run(cluster, RL, training, "heir").apply(tiny(RL, "heir", model=source))
    run.wait_condition("Stalled", within=90, reason="SourceFailed")

    assert "hopeless" in condition(run.body(), "Stalled")["message"]
    assert run.pods() == []
    run.delete()
