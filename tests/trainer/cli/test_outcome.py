import os
import subprocess
import sys
import time

import pytest

from igpo_trainer.cli.outcome import Position, RankOutcome, read_outcomes, run_and_report
from igpo_trainer.spec.contract import Cause, CheckpointStatus
from igpo_trainer.spec.errors import InterruptedRunError, InvalidDataError, InvalidRunError, RunError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("IGPO_EXIT_DIR", str(tmp_path))
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    return tmp_path


@pytest.fixture
def desk(monkeypatch):
    for name in ("IGPO_EXIT_DIR", "LOCAL_RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)


def raising(error):
    def body():
        raise error

    return body


def test_the_cause_and_the_checkpoints_are_left_for_the_launcher(folder):
    kept = CheckpointStatus(step=3, path="checkpoints/step-3", digest="ab")
    position = Position(step=4, checkpoint="step-3", latest=kept, best=kept)
    assert run_and_report(raising(RunError("disk full", cause=Cause.DISK_FULL)), position) == 1
    left = read_outcomes(folder, 2)[1]
    assert (left.cause, left.latest, left.best) == ("DiskFull", kept, kept)


def test_success_leaves_0(folder):
    before = time.time()
    assert run_and_report(lambda: None) == 0
    assert list(read_outcomes(folder, 2)) == [1]
    left = read_outcomes(folder, 2)[1]
    assert (left.code, left.reason) == (0, "done")
    assert before <= left.at <= time.time()


@pytest.mark.parametrize(
    ("error", "code"),
    [(RunError("disk\nfull"), 1), (InvalidRunError("disk full"), 64), (InvalidDataError("disk full"), 65)],
)
def test_our_errors_are_one_line_and_their_code(folder, capsys, error, code):
    assert run_and_report(raising(error)) == code
    left = read_outcomes(folder, 2)[1]
    assert (left.code, left.reason, left.traceback) == (code, "disk full", [])
    assert capsys.readouterr().err == "igpo: disk full\n"


def test_a_saved_rank_leaves_75_but_gives_torchrun_no_reason_to_end_its_siblings(folder):
    assert run_and_report(raising(InterruptedRunError("saved"))) == 0
    assert read_outcomes(folder, 2)[1].code == 75


def test_without_a_launcher_a_saved_run_returns_75(desk):
    assert run_and_report(raising(InterruptedRunError("saved"))) == 75


def test_an_unwritable_exit_folder_still_ends_with_the_code(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("IGPO_EXIT_DIR", str(tmp_path / "absent"))
    assert run_and_report(raising(InterruptedRunError("saved"))) == 75
    assert "cannot leave the exit code in" in capsys.readouterr().err


def test_a_crash_keeps_its_traceback_and_position(folder, capsys):
    position = Position()

    def body():
        position.step, position.checkpoint = 9, "step-00000008"
        raise ValueError("bad\nvalue")

    assert run_and_report(body, position) == 1
    left = read_outcomes(folder, 2)[1]
    assert (left.step, left.checkpoint, left.reason) == (9, "step-00000008", "ValueError: bad value")
    assert left.traceback[0] == "Traceback (most recent call last):"
    assert left.traceback[-1] == "value"
    assert capsys.readouterr().err.endswith("igpo: ValueError: bad value\n")


def test_ctrl_c_is_one_line_and_130(folder, capsys):
    assert run_and_report(raising(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "igpo: aborted by Ctrl-C; the last checkpoint is kept\n"


def test_ranks_of_a_pod_say_the_same_thing_once_and_other_things_too(folder, capsys):
    for text in ("row 3", "row 3", "row 4"):
        assert run_and_report(raising(InvalidDataError(text))) == 65
    assert capsys.readouterr().err == "igpo: row 3\nigpo: row 4\n"


def test_in_a_gang_the_line_names_the_rank(folder, capsys, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("RANK", "3")
    run_and_report(raising(RunError("x")))
    assert capsys.readouterr().err == "igpo: rank 3: x\n"


@pytest.mark.parametrize("text", ["", '{"code": 7'])
def test_a_torn_file_is_as_if_never_written(tmp_path, text):
    (tmp_path / "rank-0.json").write_text(text)
    assert read_outcomes(tmp_path, 1) == {}


def test_an_outcome_is_read_as_it_was_written(tmp_path):
    outcome = RankOutcome(code=1, reason="η", step=3, checkpoint="c", traceback=["a"], at=1.5)
    (tmp_path / "rank-0.json").write_text(outcome.model_dump_json())
    assert read_outcomes(tmp_path, 1) == {0: outcome}


def test_launching_and_reporting_need_no_torch():
    script = "import sys, igpo_trainer.cli.launch, igpo_trainer.cli.outcome; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False, env=os.environ).returncode == 0
