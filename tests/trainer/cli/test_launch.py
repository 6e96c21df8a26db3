"""igpo-launch through the real torchrun, two ranks each."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from igpo_trainer.cli.launch import main
from igpo_trainer.spec.contract import TERMINATION_MESSAGE_BYTES


class Launcher:
    """One launcher process and what it left."""

    def __init__(self, folder, scenario, *, processes="2", grace=30, environment=None, blocked=()):
        self.log = folder / "termination-log"
        self.log.write_bytes(b"")
        arguments = [str(processes), str(grace), str(self.log), scenario]
        signal.pthread_sigmask(signal.SIG_BLOCK, blocked)  # children inherit it
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("launcher.py")), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        signal.pthread_sigmask(signal.SIG_UNBLOCK, blocked)
        self.output = ""

    def until(self, said, ranks=2):
        """Read the log until so many ranks have said so."""
        while ranks:
            line = self.process.stdout.readline()
            assert line, f"the launcher ended before its ranks said {said!r}: " + self.process.stderr.read()
            self.output += line
            ranks -= line == f"{said}\n"

    def end(self, timeout=60):
        output, self.errors = self.process.communicate(timeout=timeout)
        self.output += output
        self.message = json.loads(self.log.read_bytes())
        assert self.message["code"] == self.process.returncode
        assert len(self.log.read_bytes()) <= TERMINATION_MESSAGE_BYTES
        return self.process.returncode


@pytest.fixture
def launched(tmp_path):
    started = []

    def start(scenario, **options):
        folder = tmp_path / str(len(started))
        folder.mkdir()
        started.append(Launcher(folder, scenario, **options))
        return started[-1]

    yield start
    for launcher in started:
        launcher.process.kill()
        launcher.process.communicate()


def test_a_run_whose_ranks_all_finish_ends_with_0(launched):
    launcher = launched("done")
    assert launcher.end() == 0
    assert sorted(launcher.output.splitlines()) == ["rank 0 has trained", "rank 1 has trained"]
    assert launcher.message["reason"] == "done"
    assert (launcher.message["step"], launcher.message["checkpoint"]) == (7, "step-00000006")
    assert sorted(launcher.message["last_lines"]) == ["rank 0 has trained", "rank 1 has trained"]


def test_a_sigterm_that_comes_while_python_starts_is_not_lost(launched):
    launcher = launched("done", blocked=[signal.SIGTERM])  # as a pod starts it
    launcher.process.send_signal(signal.SIGTERM)
    assert launcher.end() == 128 + signal.SIGTERM
    assert launcher.message["reason"] == "SIGTERM came before any rank could save; the next attempt resumes"


def test_a_crash_ends_with_1_and_its_traceback_is_in_the_termination_message(launched):
    launcher = launched("crash")
    assert launcher.end() == 1
    assert launcher.message["reason"] == "ZeroDivisionError: loss is 0/0 in cycle 7"
    assert launcher.message["last_lines"][0].startswith("Traceback")
    assert launcher.message["last_lines"][-2:] == ["ZeroDivisionError: loss is 0/0", "in cycle 7"]
    assert launcher.message["step"] == 7
    assert "igpo: rank 1: ZeroDivisionError: loss is 0/0 in cycle 7\n" in launcher.errors
    assert "ChildFailedError" not in launcher.errors


def test_an_invalid_run_on_one_rank_ends_with_64_and_one_line(launched):
    launcher = launched("invalid_run")
    assert launcher.end() == 64
    assert launcher.message["reason"] == "η is 1.5, above 1; lower hints.injectionRatio.max"
    assert "igpo: rank 0: η is 1.5, above 1; lower hints.injectionRatio.max\n" in launcher.errors
    assert "Traceback" not in launcher.errors


def test_what_all_ranks_find_wrong_is_said_once(launched):
    launcher = launched("invalid_data")
    assert launcher.end() == 65
    assert launcher.message["reason"] == "row 3 has no answer"
    # Other lines are coverage's, of a rank that is ended while it writes what it has counted.
    [said] = [line for line in launcher.errors.splitlines() if line.startswith("igpo: ")]
    assert re.fullmatch(r"igpo: rank [01]: row 3 has no answer", said)


def test_a_failure_that_may_pass_ends_with_1_and_no_traceback(launched):
    launcher = launched("hub_unreachable")
    assert launcher.end() == 1
    assert launcher.message["reason"] == "hub unreachable; try again"
    assert "Traceback" not in launcher.errors


def test_a_killed_rank_ends_the_other_and_is_named(launched):
    launcher = launched("killed")
    assert launcher.end() == 128 + signal.SIGKILL
    assert launcher.message["reason"].startswith("local rank 1 was killed by SIGKILL")
    assert launcher.errors == f"igpo: {launcher.message['reason']}\n"


def test_a_rank_that_waits_for_others_in_vain_ends_soon_after_it_was_told_to_stop(launched):
    launcher = launched("never_joined", processes=1)
    launcher.until("ready", ranks=1)
    launcher.process.send_signal(signal.SIGTERM)
    assert launcher.end() == 75
    assert launcher.message["reason"].startswith("told to stop before all ranks had come; nothing was changed")


def test_an_interrupt_reaches_the_ranks_and_a_saved_run_ends_with_75(launched):
    launcher = launched("save")
    launcher.until("ready")
    launcher.process.send_signal(signal.SIGINT)
    assert launcher.end() == 75
    assert launcher.message["reason"] == "saved step 7 on SIGTERM"
    assert launcher.message["checkpoint"] == "step-00000007"


@pytest.mark.timeout(180)
def test_a_save_of_45_seconds_outlives_the_30_seconds_of_torchrun(launched):
    launcher = launched("save_slowly", grace=90)
    launcher.until("ready")
    started = time.monotonic()
    launcher.process.send_signal(signal.SIGTERM)
    assert launcher.end(timeout=120) == 75
    assert time.monotonic() - started >= 45


def test_ranks_that_never_save_are_killed_five_seconds_before_the_grace_period_ends(launched):
    launcher = launched("never_saves", grace=7)
    launcher.until("ready")
    started = time.monotonic()
    launcher.process.send_signal(signal.SIGTERM)
    assert launcher.end() == 128 + signal.SIGTERM
    assert 2 <= time.monotonic() - started < 30
    assert launcher.message["reason"].startswith("SIGTERM came before any rank could save")


def test_one_rank_saved_and_one_killed_is_not_saved(launched):
    launcher = launched("one_is_killed_while_saving")
    launcher.until("ready")
    launcher.process.send_signal(signal.SIGTERM)
    assert launcher.end() == 1
    assert launcher.message["reason"] == "local rank 1 did not save after SIGTERM; others did"


def test_the_first_rank_that_saved_does_not_cost_the_others_theirs(launched):
    launcher = launched("first_saved_leaves_early")
    assert launcher.end() == 75


def test_a_second_interrupt_kills_everything_at_once(launched):
    launcher = launched("never_saves", grace=100)
    launcher.until("ready")
    launcher.process.send_signal(signal.SIGINT)
    launcher.until("told to stop")
    started = time.monotonic()
    launcher.process.send_signal(signal.SIGINT)
    assert launcher.end() == 128 + signal.SIGINT
    assert time.monotonic() - started < 60


def test_orphans_are_reaped_and_none_outlives_the_launcher(launched):
    launcher = launched("orphans")
    assert launcher.end() == 0
    lines = launcher.output.splitlines()
    orphans = [int(line.split()[1]) for line in lines if line.startswith("orphan")]
    assert len(orphans) == 4
    assert lines.count("reaped") == 2
    assert not [orphan for orphan in orphans if Path(f"/proc/{orphan}").exists()]


def test_pods_meet_by_static_rendezvous_in_the_order_of_their_indices(launched):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pod = {
        "PET_NNODES": "2",
        "PET_NPROC_PER_NODE": "2",
        "PET_MASTER_ADDR": "127.0.0.1",
        "PET_MASTER_PORT": str(port),
        "PET_RDZV_BACKEND": "static",
        "IGPO_RUN_ID": "uid",
        "IGPO_ATTEMPT": "1",
        "WORLD_SIZE": "99",
        "RANK": "77",
    }
    launchers = [launched("who", processes="pod", environment=pod | {"PET_NODE_RANK": str(node)}) for node in (1, 0)]
    assert [launcher.end() for launcher in launchers] == [0, 0]
    assert sorted(launchers[0].output.splitlines()) == ["node 1: rank 2 of 4", "node 1: rank 3 of 4"]
    assert sorted(launchers[1].output.splitlines()) == ["node 0: rank 0 of 4", "node 0: rank 1 of 4"]


def test_a_pod_alone_never_looks_its_name_up(launched):
    pod = {
        "PET_NNODES": "1",
        "PET_NODE_RANK": "0",
        "PET_NPROC_PER_NODE": "2",
        "PET_MASTER_ADDR": "pod-0.not-yet-in-dns.invalid",
        "PET_MASTER_PORT": "29500",
        "PET_RDZV_BACKEND": "static",
        "PET_RDZV_ID": "uid-1",
        "PET_RDZV_CONF": "timeout=1860",
        "MASTER_ADDR": "pod-0.not-yet-in-dns.invalid",
        "MASTER_PORT": "29500",
        "WORLD_SIZE": "2",
        "RANK": "0",
        "IGPO_RUN_ID": "uid",
        "IGPO_ATTEMPT": "1",
    }
    launcher = launched("who", processes="pod", environment=pod)
    assert launcher.end() == 0
    assert sorted(launcher.output.splitlines()) == ["node 0: rank 0 of 2", "node 0: rank 1 of 2"]


def test_a_wrong_environment_is_one_line_and_64(tmp_path, monkeypatch, capsys):
    log = tmp_path / "termination-log"
    monkeypatch.setenv("PET_NNODES", "two")
    monkeypatch.setenv("IGPO_TERMINATION_LOG", str(log))
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 64
    message = json.loads(log.read_text())
    assert message["code"] == 64
    assert capsys.readouterr().err == f"igpo-launch: {message['reason']}\n"


def test_a_termination_log_that_cannot_be_written_does_not_change_the_code(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PET_NNODES", "0")
    monkeypatch.setenv("IGPO_TERMINATION_LOG", str(tmp_path / "absent" / "termination-log"))
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 64
    assert "no termination message in" in capsys.readouterr().err
