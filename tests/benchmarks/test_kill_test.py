"""`make kill-test` in its short form: a few kills of each kind, every promise judged as in the long one."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from kill_runs.attempt import Attempt
from kill_runs.moments import PHASES, moments, usual_seconds
from kill_runs.volume import GARBAGE, TORN, KillTestError, Volume, differences

from igpo_trainer.loop.store import CheckpointStore

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "kill_test.py"


@pytest.mark.timeout(1200)
def test_a_run_that_is_killed_ends_as_if_nobody_had(tmp_path):
    options = ["--kills", "8", "--calls", "6", "--steps", "6", "--out", str(tmp_path)]
    ended = subprocess.run(
        [sys.executable, str(SCRIPT), *options],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=1150,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.count("same files as the undisturbed run") == 2
    assert len(re.findall(r"^kill \d/8: ", ended.stdout, re.MULTILINE)) == 8
    assert len(re.findall(r"^killed before ", ended.stdout, re.MULTILINE)) == 6
    assert "threads 1, verdicts by a deadline 0, completed steps lost 0, partial files read 0" in ended.stdout


def test_moments_are_spread_over_phases_and_cycles_and_the_same_for_a_seed():
    found = moments(50, 12, {"update": 2.0}, seed=3)
    assert found == moments(50, 12, {"update": 2.0}, seed=3)
    assert found != moments(50, 12, {"update": 2.0}, seed=4)
    aimed = [moment.phase for moment in found]
    assert all(6 <= aimed.count(phase) <= 7 for phase in PHASES)
    steps = [moment.step for moment in found]
    assert steps == sorted(steps)
    assert (steps[0], steps[-1]) == (1, 9)
    assert all(0 <= moment.seconds <= 2.0 for moment in found)


def test_what_is_wanted_may_be_past_when_it_is_read():
    reading, writing = os.pipe()
    os.write(writing, b"step 3\nphase judge\nphase rollout\nphase up")
    attempt = Attempt(os.getpid(), reading)
    assert attempt.until(lambda now: now.phase == "judge")
    assert (attempt.phase, attempt.step, attempt.first_step) == ("rollout", 3, 3)
    os.write(writing, b"date\n")
    assert not attempt.until(lambda now: now.phase == "judge", seconds=0.0)
    assert attempt.phase == "update"
    os.close(reading)
    os.close(writing)


def test_a_phase_lasts_from_its_message_to_the_next():
    said = [(1.0, "phase rollout"), (1.5, "call fsync x"), (3.0, "phase judge"), (3.5, "phase rollout")]
    said += [(4.5, "step 2"), (5.5, "phase update")]
    assert usual_seconds(said, 0.0) == {"start": 1.0, "rollout": 2.0, "judge": 0.5}


@pytest.fixture
def volume(tmp_path):
    volume = Volume(tmp_path / "run")
    store = CheckpointStore(volume.run_dir / "checkpoints", 2, 0)
    for step in (2, 4):
        draft = store.begin(step)
        (draft / "weights").write_text("w")
        store.publish(draft, step)
    lines = [f'{{"event":"step","step":{step},"time":{{}}}}\n' for step in (1, 2, 3, 4, 5)]
    (volume.run_dir / "metrics.jsonl").write_text("".join(lines))
    volume.judge()
    return volume


def test_partial_files_are_filled_with_garbage_and_the_journal_is_torn(volume):
    half = volume.run_dir / "checkpoints" / ".tmp-step-00000006" / "weights"
    half.parent.mkdir()
    half.write_text("half")
    volume.judge()
    assert half.read_bytes() == GARBAGE
    assert volume.poisoned == 1
    assert not (volume.run_dir / "metrics.jsonl").read_bytes().endswith(b"\n")
    assert volume.latest == 4


def test_a_lost_checkpoint_is_noticed(volume):
    folder = volume.run_dir / "checkpoints" / "step-00000004"
    folder.rename(folder.with_name(".trash-step-00000004"))
    with pytest.raises(KillTestError, match="the checkpoint of step 4 is gone; the newest is of step 2"):
        volume.judge()


def test_a_replaced_checkpoint_that_a_start_will_put_back_is_not_lost(volume):
    folder = volume.run_dir / "checkpoints" / "step-00000004"
    folder.rename(folder.with_name(".old-step-00000004"))
    volume.judge()
    assert volume.latest == 4


def test_half_a_checkpoint_under_its_name_is_noticed(volume):
    (volume.run_dir / "checkpoints" / "step-00000004" / "weights").write_text("")
    with pytest.raises(KillTestError, match="visible but not whole"):
        volume.judge()


def test_a_journal_rewritten_before_the_checkpoint_is_noticed(volume):
    journal = volume.run_dir / "metrics.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b'"step":3', b'"step":9'))
    with pytest.raises(KillTestError, match="rewritten before the checkpoint of step 4"):
        volume.judge()


def test_folders_are_compared_by_names_and_bytes_and_journals_without_times(tmp_path):
    for name, second in (("one", 1), ("two", 2)):
        (tmp_path / name / "final").mkdir(parents=True)
        (tmp_path / name / "final" / "model.safetensors").write_text("w")
        (tmp_path / name / "metrics.jsonl").write_text(f'{{"step":1,"time":{{"at":{second}}}}}\n')
    with (tmp_path / "one" / "metrics.jsonl").open("ab") as journal:
        journal.write(TORN)  # by a kill behind the end line; no reader takes it for a record
    assert differences(tmp_path / "one", tmp_path / "two") == []
    (tmp_path / "one" / ".run.json.7.tmp").touch()
    (tmp_path / "one" / "metrics.jsonl").write_text('{"step":2}\n')
    (tmp_path / "two" / "final" / "model.safetensors").write_text("v")
    assert differences(tmp_path / "one", tmp_path / "two") == [
        ".run.json.7.tmp only in one of both",
        "final/model.safetensors differs",
        "metrics.jsonl differs in more than time",
    ]
