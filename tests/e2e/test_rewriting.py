"""A teacher in the cluster: long traces are rewritten once, by a pod without GPUs, and SFT and RL follow.

Does what docs/rewrite.md tells people to do.
"""

import json
import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from igpo_cluster.cluster import Cluster
from igpo_cluster.images import Images
from igpo_e2e.faults import run_folder, volume_folder
from igpo_e2e.manifests import CONCURRENCY, RL, SFT, TRACES, Manifest, aligned, rewriting
from igpo_e2e.operator import Operator
from igpo_e2e.ranks import rewriter
from igpo_e2e.run import Body, Run, condition, phase_of
from igpo_e2e.teacher import Teacher
from igpo_operator.api.workers import GPU_RESOURCE
from igpo_operator.render.names import STAGE_LABEL
from igpo_teacher.faults import Faults

WRONG = 0.2
"""Share of problems that the teacher solves wrongly."""
NAME = "length-aligned"


@pytest.fixture
def teacher(cluster: Cluster, images: Images, namespace: str) -> Teacher:
    one = Teacher(cluster, namespace)
    one.start(images.trainer, wrong=WRONG)
    return one


@pytest.mark.usefixtures("gpus")
def test_one_apply_rewrites_aligns_and_reinforces(
    cluster: Cluster, operator: Operator, namespace: str, teacher: Teacher
) -> None:
    sft, rl = Run(cluster, SFT, namespace, NAME), Run(cluster, RL, namespace, NAME)
    teacher.hold(after=20)
    _apply(cluster, namespace, aligned(teacher.spec, workers={"gpusPerWorker": 1}))
    half = sft.wait("20 rewritten traces", lambda body: _rewriting(body, 20))
    [pod] = sft.pods()
    _stage_is_right(half, pod)
    waiting = condition(rl.body(), "Reconciling")
    assert (waiting["reason"], rl.pods()) == ("WaitingForSource", [])

    name = pod["metadata"]["name"]
    with ThreadPoolExecutor(1) as follower:
        log = follower.submit(cluster.kubectl, "logs", "--follow", name, "-n", namespace, timeout=300)
        teacher.release()
        for run in (sft, rl):
            run.wait_complete()
    for resource in (f"lasft/{NAME}", f"igpo/{NAME}"):
        cluster.kubectl("wait", "--for=condition=Complete", resource, "-n", namespace, "--timeout=10s")

    _kept_what_is_right(sft, teacher)
    source = rl.status()["resolved"]["source"]
    assert (source["kind"], source["name"]) == (SFT, NAME)
    assert source["digest"] == sft.status()["checkpoint"]["digest"]
    assert {"accuracy", "reward"} <= set(rl.status()["metrics"])
    assert {line["event"] for line in _journal(rl)} >= {"step", "evaluation", "end"}
    asked = json.dumps(sft.pod(0)["spec"]["containers"])
    assert GPU_RESOURCE in asked, "the gang has what the stage before it did without"
    _nobody_tells_the_key(cluster, operator, teacher, [log.result(), *(_log(run) for run in (sft, rl))])
    for run in (sft, rl):
        _no_file_holds_the_key(volume_folder(run), teacher.key)


def _kill(run: Run) -> None:
    os.kill(rewriter(run, attempt=1), signal.SIGKILL)


def _delete(run: Run) -> None:
    name = run.pod(0)["metadata"]["name"]
    run.cluster.kubectl("delete", "pod", name, "-n", run.namespace, "--wait=false")


@pytest.mark.parametrize(("end", "cause", "charged"), [(_kill, "Application", 1), (_delete, "Deleted", 0)])
def test_a_pod_that_ends_in_the_middle_costs_the_requests_in_flight_at_most(
    cluster: Cluster, namespace: str, teacher: Teacher, end: Callable[[Run], None], cause: str, charged: int
) -> None:
    run = Run(cluster, SFT, namespace, NAME)
    teacher.hold(after=20)
    _apply(cluster, namespace, [rewriting(teacher.spec, runPolicy={"terminationGracePeriodSeconds": 10})])
    pending = teacher.wait_held(answered=20, waiting=CONCURRENCY).pending
    assert len(pending) == CONCURRENCY
    run.wait_phase("Rewriting")
    end(run)
    status = run.wait("attempt 2", lambda body: _attempt(body) == 2 and phase_of(body) == "Rewriting")["status"]
    ended = status["attempts"][0]
    assert (ended["class"], ended["stage"]) == (cause, "Rewriting")
    assert status["restarts"].get("application", 0) == charged
    teacher.release()
    status = run.wait("the end of the stage", lambda body: _gang(body) and _attempt(body) == 3)["status"]

    counts = teacher.counts()
    assert len(counts.answered) == TRACES
    assert {problem for problem, requests in counts.asked.items() if requests > 1} <= pending
    assert (status["rewriting"]["attempt"], status["rewriting"]["done"]) == (2, TRACES)
    assert status["attempt"]["stage"] == "Training"
    run.delete()


def test_the_same_spec_applied_again_finds_its_rewrites_and_asks_nobody(
    cluster: Cluster, namespace: str, teacher: Teacher
) -> None:
    run, manifest = Run(cluster, SFT, namespace, NAME), [rewriting(teacher.spec)]
    _apply(cluster, namespace, manifest)
    before = run.wait_complete()
    counts = teacher.counts()
    assert counts.asked.total() == TRACES
    run.delete()
    _apply(cluster, namespace, manifest)
    after = run.wait_complete()

    assert teacher.counts() == counts
    assert after["rewriting"]["cached"] == after["rewriting"]["rows"] == TRACES
    assert after["rewriting"]["kept"] == before["rewriting"]["kept"]
    assert (after["attempt"]["number"], after["attempts"][0]["stage"]) == (2, "Rewriting")
    assert after["progress"]["step"] == before["progress"]["step"] == after["checkpoint"]["step"]
    [told] = [event for event in run.events() if event["reason"] == "Rewritten"]
    assert "the volume already held them" in told["note"]


def _apply(cluster: Cluster, namespace: str, documents: list[Manifest]) -> None:
    """One `kubectl apply` of a whole manifest."""
    together = {"apiVersion": "v1", "kind": "List", "items": documents}
    cluster.kubectl("apply", "--server-side", "-n", namespace, "-f", "-", stdin=together)


def _rewriting(run: Body, done: int) -> bool:
    counts = (run.get("status") or {}).get("rewriting") or {}
    return phase_of(run) == "Rewriting" and counts.get("done") == done


def _attempt(run: Body) -> int:
    return int(((run.get("status") or {}).get("attempt") or {}).get("number", 0))


def _gang(run: Body) -> bool:
    """Whether the stage is over and the gang has begun."""
    return bool(((run.get("status") or {}).get("rewriting") or {}).get("finishedAt"))


def _stage_is_right(run: Body, pod: Body) -> None:
    counts = run["status"]["rewriting"]
    assert (counts["rows"], counts["kept"] + counts["dropped"] <= 20) == (TRACES, True)
    assert counts["tokens"] > 0
    ready = condition(run, "Ready")
    assert (ready["status"], ready["reason"]) == ("True", "Rewriting")
    assert pod["metadata"]["labels"][STAGE_LABEL] == "Rewriting"
    assert GPU_RESOURCE not in json.dumps(pod["spec"]["containers"])
    assert "igpo-rewrite" in pod["spec"]["containers"][0]["command"]


def _kept_what_is_right(sft: Run, teacher: Teacher) -> None:
    counts, status = teacher.counts(), sft.status()["rewriting"]
    assert counts.asked.total() == counts.answered.total() == len(counts.asked) == TRACES
    faults = Faults(wrong=WRONG)
    wrong = sum(faults.of(problem, 1) == "wrong" for problem in counts.asked)
    assert 0 < wrong < TRACES
    assert (status["done"], status["kept"], status["dropped"]) == (TRACES, TRACES - wrong, wrong)
    assert status["finishedAt"]
    [data] = [line for line in _journal(sft) if line["event"] == "data"]
    assert data["rewritten"] == data["problems"] == TRACES - wrong
    assert data["dropped"] == {"rewrite with a wrong answer": wrong}


def _journal(run: Run) -> list[Body]:
    return [json.loads(line) for line in (run_folder(run) / "metrics.jsonl").read_text().splitlines()]


def _log(run: Run) -> str:
    return run.cluster.kubectl("logs", run.pod(0)["metadata"]["name"], "-n", run.namespace)


def _nobody_tells_the_key(cluster: Cluster, operator: Operator, teacher: Teacher, logs: list[str]) -> None:
    """It is in its Secret, and in no log and no other object of the namespace."""
    kinds = "configmaps,pods,services,events,networkpolicies,persistentvolumeclaims,lasft,igpo"
    objects = cluster.kubectl("get", kinds, "-n", teacher.namespace, "-o", "json")
    assert SFT in objects
    assert all(logs)
    for text in (objects, operator.log(), *logs):
        assert teacher.key not in text


def _no_file_holds_the_key(folder: Path, key: str) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if key.encode() in path.read_bytes()]
