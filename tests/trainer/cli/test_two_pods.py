"""Every exit code through two real launchers of two ranks each, as two pods of a gang would end."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

STEPS = 400


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Pods:
    """Two launchers that meet on the loopback interface; each is what one pod runs."""

    def __init__(self, folder, command, *, attempt=1):
        port = free_port()
        self.pods = []
        for node in (0, 1):
            log = folder / f"termination-log-{attempt}-{node}"
            log.write_bytes(b"")
            environment = {
                "OMP_NUM_THREADS": "1",
                "PYTHONUNBUFFERED": "1",
                "PET_NNODES": "2",
                "PET_NODE_RANK": str(node),
                "PET_NPROC_PER_NODE": "2",
                "PET_MASTER_ADDR": "127.0.0.1",
                "PET_MASTER_PORT": str(port),
                "PET_RDZV_BACKEND": "static",
                "PET_RDZV_ID": f"0a1b2c-{attempt}",
                "IGPO_RUN_ID": "0a1b2c",
                "IGPO_ATTEMPT": str(attempt),
                "IGPO_GRACE_SECONDS": "60",
                "IGPO_TERMINATION_LOG": str(log),
            }
            output = (folder / f"log-{attempt}-{node}").open("w+b")
            process = subprocess.Popen(
                [str(part) for part in command],
                stdout=output,
                stderr=output,
                env={**os.environ, **environment},
            )
            self.pods.append(SimpleNamespace(process=process, log=log, output=output))

    def __iter__(self):
        return iter(self.pods)

    def ends(self, timeout=150):
        """Their termination messages."""
        messages = []
        deadline = time.monotonic() + timeout
        for pod in self.pods:
            pod.process.wait(max(0.1, deadline - time.monotonic()))
            messages.append(json.loads(pod.log.read_bytes()))
            assert messages[-1]["code"] == pod.process.returncode
        return messages

    def codes(self, timeout=150):
        return [message["code"] for message in self.ends(timeout)]

    def close(self):
        for pod in self.pods:
            pod.process.kill()
            pod.process.wait()
            pod.output.close()


@pytest.fixture
def started(tmp_path):
    gangs = []

    def start(command, **options):
        gangs.append(Pods(tmp_path, command, **options))
        return gangs[-1]

    yield start
    for gang in gangs:
        gang.close()


def trainer(manifest, runs):
    """The command of a pod."""
    options = ["--manifest", manifest, "--runs", runs, "--metrics-port", 0, "--linger-seconds", 0]
    return [sys.executable, "-m", "igpo_trainer.cli.launch", *options]


def wait_for(condition, timeout=150):
    """Look every tenth of a second until a condition holds; its value."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, "not within the time"
        threading.Event().wait(0.1)
    return value


def ranks_of(process):
    """Process ids of a launcher's ranks."""
    children = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
            children.setdefault(int(fields[1]), []).append(int(status.parent.name))
        except OSError:
            continue
    agents = children.get(process.pid, [])
    return [rank for agent in agents for rank in children.get(agent, [])]


def contents(folder):
    """Every file below a folder with its time of change, but for the one that names the owner."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "run.json"]
    return {path.relative_to(folder).as_posix(): path.stat().st_mtime_ns for path in files}


@pytest.fixture
def tiny(tools, trained, runs, tmp_path):
    """A manifest that would take minutes, and where its run lives."""
    manifest = tools.write_manifest(tmp_path / "run.yaml", tools.igpo(trained.source, steps=STEPS))
    run_dir = runs / "IGPOTraining" / "tiny"

    def checkpoints():
        return sorted(path.parent.name for path in run_dir.glob("checkpoints/step-*/complete"))

    return SimpleNamespace(manifest=manifest, runs=runs, run_dir=run_dir, checkpoints=checkpoints)


@pytest.mark.timeout(400)
def test_a_finished_gang_ends_with_0_and_says_which_checkpoints_are_final_and_best(tools, trained, started, tiny):
    manifest = tools.write_manifest(tiny.manifest, tools.igpo(trained.source, steps=2))
    messages = started(trainer(manifest, tiny.runs)).ends()
    assert [message["code"] for message in messages] == [0, 0]
    marker = json.loads((tiny.run_dir / "checkpoints" / "step-00000002" / "complete").read_text())
    assert messages[0]["latest"]["digest"] == marker["digest"]
    assert messages[0]["best"]["step"] in {0, 2}
    assert (tiny.run_dir / "final" / "config.json").is_file()


@pytest.mark.timeout(400)
def test_a_folder_of_another_run_ends_every_pod_with_64_and_one_cause(tools, trained, started, tiny):
    tiny.run_dir.mkdir(parents=True)
    record = {"runId": "f00", "specHash": "b" * 64, "attempt": 1, "kind": "IGPOTraining", "name": "tiny"}
    (tiny.run_dir / "run.json").write_text(json.dumps(record))
    before = contents(tiny.run_dir)
    messages = started(trainer(tiny.manifest, tiny.runs)).ends()
    assert [message["code"] for message in messages] == [64, 64]
    assert {message["cause"] for message in messages} == {"VolumeHoldsAnotherRun"}
    assert contents(tiny.run_dir) == before
    assert json.loads((tiny.run_dir / "run.json").read_text()) == record


@pytest.mark.timeout(400)
def test_rows_without_an_answer_end_every_pod_with_65(tools, started, tiny, tmp_path):
    rows = tools.write_rows(tmp_path / "bad.jsonl", [{"question": "how many ?"}] * 40)
    manifest = tools.write_manifest(tiny.manifest, tools.igpo(rows))
    messages = started(trainer(manifest, tiny.runs)).ends()
    assert [message["code"] for message in messages] == [65, 65]
    assert "bad.jsonl" in messages[0]["reason"]
    assert not tiny.run_dir.exists()


@pytest.mark.timeout(400)
def test_a_loss_that_is_no_number_ends_every_pod_with_1(tools, trained, started, tiny):
    document = tools.igpo(trained.source, steps=STEPS)
    document["spec"]["optimizer"] = {"learningRate": 1e30, "warmupUpdates": 0, "schedule": "Constant"}
    messages = started(trainer(tools.write_manifest(tiny.manifest, document), tiny.runs)).ends()
    assert [message["code"] for message in messages] == [1, 1]
    assert {message["cause"] for message in messages} == {"NonFinite"}


@pytest.mark.timeout(600)
def test_a_killed_rank_ends_its_pod_with_137_and_the_other_pod_fails_too_and_the_next_attempt_resumes(started, tiny):
    first = started(trainer(tiny.manifest, tiny.runs))
    wait_for(lambda: len(tiny.checkpoints()) >= 1)
    os.kill(ranks_of(first.pods[1].process)[0], signal.SIGKILL)
    other, killed = first.ends(timeout=60)
    assert killed["code"] == 128 + signal.SIGKILL
    assert killed["reason"].startswith("local rank 0 was killed by SIGKILL")
    assert (other["code"], other["cause"]) == (1, "PeerLost")
    gone = "rank 2 is gone: it said nothing, so it was killed or its machine was lost"
    assert other["reason"] == f"{gone}; the last checkpoint is kept"
    assert other["latest"]["path"].endswith(tiny.checkpoints()[-1])

    second = started(trainer(tiny.manifest, tiny.runs), attempt=2)
    saved = tiny.checkpoints()[-1]
    wait_for(lambda: tiny.checkpoints()[-1] > saved)
    second.pods[1].process.send_signal(signal.SIGTERM)
    assert second.codes() == [75, 75]
    lines = [json.loads(line) for line in (tiny.run_dir / "metrics.jsonl").read_text().splitlines()]
    steps = [line["step"] for line in lines if line["event"] == "step"]
    assert steps == list(range(1, len(steps) + 1))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("told", [0, 1])
def test_a_gang_of_which_one_pod_is_told_to_stop_saves_the_same_step_everywhere_and_ends_with_75(started, tiny, told):
    gang = started(trainer(tiny.manifest, tiny.runs))
    wait_for(lambda: len(tiny.checkpoints()) >= 1)
    gang.pods[told].process.send_signal(signal.SIGTERM)
    messages = gang.ends()
    assert [message["code"] for message in messages] == [75, 75]
    assert messages[0]["step"] == messages[1]["step"]
    assert messages[0]["checkpoint"] == tiny.checkpoints()[-1] == f"step-{messages[0]['step']:08d}"
    assert not list(tiny.run_dir.glob("checkpoints/.tmp-*"))


@pytest.mark.timeout(400)
def test_a_fenced_attempt_ends_every_pod_with_75_and_writes_nothing_more(started, tiny):
    gang = started(trainer(tiny.manifest, tiny.runs))
    wait_for(lambda: len(tiny.checkpoints()) >= 1)
    path = tiny.run_dir / "run.json"
    for pod in gang:
        for rank in ranks_of(pod.process):
            os.kill(rank, signal.SIGSTOP)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"attempt": 2}))
    before = contents(tiny.run_dir)
    for pod in gang:
        for rank in ranks_of(pod.process):
            os.kill(rank, signal.SIGCONT)
    messages = gang.ends()
    assert [message["code"] for message in messages] == [75, 75]
    assert {message["cause"] for message in messages} == {"FencedOff"}
    after = contents(tiny.run_dir)
    assert {name for name in before if after.get(name) == before[name]} >= {"metrics.jsonl", "samples.jsonl"}
    assert after == before
