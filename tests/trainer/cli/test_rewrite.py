"""`igpo rewrite` and igpo-rewrite as processes, killed and started again, with a real teacher over HTTP.

Runs what docs/rewrite.md tells people to type.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from igpo_teacher.faults import Faults
from igpo_teacher.server import TeacherServer

CONCURRENCY = 16
KEY = "sk-do-not-tell-anybody"


@pytest.fixture
def teacher():
    with TeacherServer() as server:
        yield server


def alignment(tools, teacher, rows=200, **rewrite):
    """A LengthAlignedSFT on verbose traces, most of them longer than its canvas."""
    document = tools.sft("builtin:word-problems")
    document["spec"] |= {
        "dataset": {
            "source": "builtin:word-problems",
            "holdout": {"rows": 6},
            "maxPromptTokens": 40,
            "wordProblems": {"rows": rows, "style": "Verbose"},
        },
        "rewrite": {
            "teacher": {"baseUrl": teacher.base_url, "model": "short"},
            "concurrency": CONCURRENCY,
            **rewrite,
        },
        "length": {"target": 24},
        "sampling": {"completionLength": 24, "steps": 6, "blockLength": 8},
        "training": {"steps": 3, "batchSize": 8},
    }
    document["spec"]["model"]["scratch"]["maxPositions"] = 64
    return document


class Command:
    """A command line in a process of its own."""

    def __init__(self, module, *options, **environment):
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, *map(str, options)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", **environment},
        )

    def end(self):
        """Its exit code; what it said is in output and errors."""
        self.output, self.errors = self.process.communicate(timeout=200)
        return self.process.returncode


@pytest.fixture
def started():
    """Starts commands; none outlives the test."""
    commands = []

    def start(*arguments, **environment):
        commands.append(Command(*arguments, **environment))
        return commands[-1]

    yield start
    for command in commands:
        command.process.kill()
        command.process.communicate()


@pytest.fixture
def place(tools, tmp_path):
    """Writes a manifest; the options of a command for it."""

    def write(document):
        manifest = tools.write_manifest(tmp_path / "run.yaml", document)
        return ["-f", manifest, "--runs", tmp_path / "runs", *tools.PORT]

    return write


@pytest.fixture
def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "runs" / "LengthAlignedSFT" / "base" / "rewritten"


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_killed_and_started_again_it_pays_for_the_requests_in_flight_at_most(tools, teacher, place, folder, started):
    teacher.faults = Faults(failing=0.02, cut_json=0.02, wrong=0.05)
    options = place(alignment(tools, teacher))
    teacher.hold_after(100)
    killed = started("igpo_trainer.cli.main", "rewrite", *options)
    teacher.wait_for(lambda server: server.in_flight == CONCURRENCY)
    killed.process.send_signal(signal.SIGKILL)
    assert killed.end() == -signal.SIGKILL
    on_file = len([row for row in rows(folder / "answers.jsonl") if row["text"] is not None])
    whole = teacher.answered.total()
    teacher.release()
    teacher.wait_for(lambda server: server.in_flight == 0)
    assert on_file == whole
    again = started("igpo_trainer.cli.main", "rewrite", *options)
    assert (again.end(), again.errors) == (0, "")
    assert teacher.answered.total() <= 200 + CONCURRENCY
    assert {row["key"] for row in rows(folder / "answers.jsonl") if row["text"] is not None} == {
        row["request"] for name in ("kept.jsonl", "dropped.jsonl") for row in rows(folder / name)
    }
    kept, dropped = rows(folder / "kept.jsonl"), rows(folder / "dropped.jsonl")
    assert len(kept) + len(dropped) == len({row["request"] for row in kept + dropped}) == 200
    assert {row["reason"] for row in dropped} == {"rewrite with a wrong answer"}
    first, *_, last = again.output.splitlines()
    assert first.startswith("rewrite ")
    assert last.startswith(f"LengthAlignedSFT/base: rewrite {len(kept)} of 200 traces kept, teacher short | mean ")
    assert last.endswith(f"; {folder}")


def test_ctrl_c_keeps_what_arrives_and_ends_with_75(tools, teacher, place, folder, started):
    options = place(alignment(tools, teacher))
    teacher.hold_after(50)
    stopped = started("igpo_trainer.cli.main", "rewrite", *options)
    teacher.wait_for(lambda server: server.in_flight == CONCURRENCY)
    stopped.process.send_signal(signal.SIGINT)
    teacher.release()
    assert stopped.end() == 75
    on_file = len(rows(folder / "answers.jsonl"))
    assert stopped.errors == (
        f"igpo: told to stop with {on_file} traces rewritten; they are kept, start again to go on\n"
    )
    assert 50 <= on_file <= 200


def test_igpo_run_rewrites_first_and_trains_on_what_was_kept(tools, teacher, place, folder, capsys):
    options = place(alignment(tools, teacher, rows=60))
    assert tools.igpo_command("run", *options) == 0
    output = capsys.readouterr().out.splitlines()
    assert any(line.startswith("LengthAlignedSFT/base: rewrite 60 of 60 traces kept") for line in output)
    assert output[-1].startswith("LengthAlignedSFT/base: 3 steps in ")
    events = [line["event"] for line in tools.journal(folder.parent)]
    assert events[:3] == ["start", "rewrite", "data"]
    assert tools.igpo_command("run", *options) == 0
    assert teacher.asked.total() == 60


def test_a_stage_that_was_rewritten_before_trains_without_a_teacher(tools, teacher, place, capsys):
    options = place(alignment(tools, teacher, rows=60))
    assert tools.igpo_command("rewrite", *options, "--quiet") == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
    teacher.faults = Faults(refused=1.0)
    assert tools.igpo_command("run", *options) == 0
    assert teacher.asked.total() == 60


def refused(tools, capsys, options, code, command="rewrite"):
    """The one line that a command says on stderr."""
    assert tools.igpo_command(command, *options) == code
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize("command", ["rewrite", "run"])
def test_a_teacher_that_is_down(tools, teacher, place, capsys, command):
    document = alignment(tools, teacher, attempts=1)
    document["spec"]["rewrite"]["teacher"]["baseUrl"] = "http://127.0.0.1:9/v1"
    line = refused(tools, capsys, place(document), 1, command)
    assert line.startswith("igpo: the teacher at http://127.0.0.1:9/v1 left ")
    assert line.endswith("0 answers are kept: see to the teacher and start again")


def test_a_key_that_is_missing(tools, teacher, place, capsys, monkeypatch, tmp_path):
    monkeypatch.delenv("IGPO_TEACHER_API_KEY", raising=False)
    document = alignment(tools, teacher)
    document["spec"]["rewrite"]["teacher"]["apiKeySecretRef"] = {"name": "teacher", "key": "token"}
    line = refused(tools, capsys, place(document), 64)
    assert "the teacher's key is missing: IGPO_TEACHER_API_KEY is not set; set it to the key, or remove" in line
    assert not (tmp_path / "runs").exists()


def test_a_key_that_the_teacher_refuses(tools, teacher, place, capsys, monkeypatch):
    teacher.key = "another"
    monkeypatch.setenv("IGPO_TEACHER_API_KEY", KEY)
    line = refused(tools, capsys, place(alignment(tools, teacher)), 64)
    assert "refuses the key in IGPO_TEACHER_API_KEY (401: Incorrect API key provided: ***); correct" in line


def test_a_model_name_that_the_teacher_refuses(tools, teacher, place, capsys):
    teacher.model = "another"
    line = refused(tools, capsys, place(alignment(tools, teacher)), 64)
    assert "knows no model 'short' or no chat completions (404: The model `short` does not exist); correct" in line


def test_a_budget_that_is_spent(tools, teacher, place, folder, capsys):
    line = refused(tools, capsys, place(alignment(tools, teacher, tokenBudget=8000, maxTokens=100)), 64)
    on_file = len(rows(folder / "answers.jsonl"))
    assert line.startswith("igpo: rewrite.tokenBudget 8000 is spent: ")
    assert f"tokens for {on_file} answers, {200 - on_file} traces are left" in line
    assert line.endswith("raise rewrite.tokenBudget and start again")


def test_rewrites_of_which_none_can_be_kept(tools, teacher, place, folder, capsys):
    teacher.faults = Faults(wrong=1.0)
    line = refused(tools, capsys, place(alignment(tools, teacher)), 65)
    assert line == (
        "igpo: none of 200 rewrites by short can be kept (200 rewrite with a wrong answer); look at "
        f"{folder / 'dropped.jsonl'}, then change rewrite.prompt, rewrite.teacher or length.target"
    )
    assert len(rows(folder / "answers.jsonl")) == 200


def test_an_address_that_is_none(tools, teacher, place, capsys):
    document = alignment(tools, teacher)
    document["spec"]["rewrite"]["teacher"]["baseUrl"] = "teacher:8000"
    assert "baseUrl 'teacher:8000' is no web address" in refused(tools, capsys, place(document), 64)


def test_a_manifest_without_anything_to_rewrite(tools, teacher, place, capsys):
    document = alignment(tools, teacher)
    del document["spec"]["rewrite"]
    line = refused(tools, capsys, place(document), 64)
    assert line.endswith("no document has spec.rewrite: nothing to rewrite; add it to a LengthAlignedSFT")
    line = refused(tools, capsys, [*place(document), "--run", "LengthAlignedSFT/base"], 64)
    assert "run.yaml: LengthAlignedSFT/base does not stand there with spec.rewrite: nothing" in line


def test_a_pod_serves_its_progress_and_leaves_it_in_the_termination_message(
    tools, teacher, tmp_path, folder, started, free_port
):
    manifest = tools.write_manifest(tmp_path / "run.yaml", alignment(tools, teacher))
    log = tmp_path / "termination-log"
    log.write_bytes(b"")
    teacher.hold_after(50)
    pod = started(
        "igpo_trainer.cli.rewrite_pod",
        *("--manifest", manifest, "--runs", tmp_path / "runs", "--metrics-port", free_port, "--linger-seconds", 0),
        IGPO_TERMINATION_LOG=str(log),
        IGPO_RUN_ID="0a1b2c",
        IGPO_ATTEMPT="3",
    )
    teacher.wait_for(lambda server: server.in_flight == CONCURRENCY)
    status = json.load(urllib.request.urlopen(f"http://127.0.0.1:{free_port}/status"))
    assert (status["stage"], status["run_id"], status["attempt"]) == ("rewrite", "0a1b2c", 3)
    assert status["rewrite"]["rows"] == 200
    metrics = urllib.request.urlopen(f"http://127.0.0.1:{free_port}/metrics").read().decode()
    assert "igpo_sft_rewrite_rows 200.0" in metrics
    teacher.release()
    assert (pod.end(), pod.errors) == (0, "")
    message = json.loads(log.read_bytes())
    assert (message["code"], message["reason"]) == (0, "done")
    assert (message["rewrite"]["done"], message["rewrite"]["kept"]) == (200, 200)
    assert json.loads((folder.parent / "run.json").read_text())["attempt"] == 3


def test_a_pod_that_is_told_to_stop_ends_with_75_and_one_that_is_fenced_off_too(
    tools, teacher, tmp_path, folder, started
):
    manifest = tools.write_manifest(tmp_path / "run.yaml", alignment(tools, teacher))
    log = tmp_path / "termination-log"
    log.write_bytes(b"")
    options = ("--manifest", manifest, "--runs", tmp_path / "runs", "--metrics-port", 0, "--linger-seconds", 0)
    environment = {"IGPO_TERMINATION_LOG": str(log), "IGPO_RUN_ID": "0a1b2c"}
    teacher.hold_after(50)
    stopped = started("igpo_trainer.cli.rewrite_pod", *options, **environment, IGPO_ATTEMPT="1")
    teacher.wait_for(lambda server: server.in_flight == CONCURRENCY)
    stopped.process.send_signal(signal.SIGTERM)
    teacher.release()
    assert stopped.end() == 75
    message = json.loads(log.read_bytes())
    assert message["reason"].startswith("told to stop with ")
    teacher.hold_after(10)
    fenced = started("igpo_trainer.cli.rewrite_pod", *options, **environment, IGPO_ATTEMPT="2")
    teacher.wait_for(lambda server: server.in_flight == CONCURRENCY)
    identity = folder.parent / "run.json"
    identity.write_text(identity.read_text().replace('"attempt": 2', '"attempt": 3'))
    before = (folder / "answers.jsonl").read_bytes()
    teacher.release()
    assert fenced.end() == 75
    assert "fenced off and wrote nothing more" in json.loads(log.read_bytes())["reason"]
    assert (folder / "answers.jsonl").read_bytes() == before


def test_a_pod_whose_manifest_has_nothing_to_rewrite_says_so(tools, trained, tmp_path, started):
    log = tmp_path / "termination-log"
    log.write_bytes(b"")
    options = ("--manifest", trained.manifest, "--runs", tmp_path / "runs")
    pod = started("igpo_trainer.cli.rewrite_pod", *options, IGPO_TERMINATION_LOG=str(log))
    assert pod.end() == 64
    assert "expected one LengthAlignedSFT with spec.rewrite, found LengthAlignedSFT/base" in pod.errors
    assert json.loads(log.read_bytes())["code"] == 64
