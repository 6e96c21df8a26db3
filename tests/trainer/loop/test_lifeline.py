"""Three real processes, one of which ends: the others learn it, whatever they do, and why."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
GONE = "is gone: it said nothing, so it was killed or its machine was lost; the last checkpoint is kept"


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """By scenario: what each rank told and with which code it ended."""
    folder = tmp_path_factory.mktemp("lost")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, str(HERE / "lost_ranks.py"), str(folder)], env=environment, check=True, timeout=200)

    def told(scenario):
        paths = [folder / scenario / f"{rank}.json" for rank in range(3)]
        codes = json.loads((folder / scenario / "codes.json").read_text())
        return [json.loads(path.read_text()) if path.exists() else None for path in paths], codes

    return told


@pytest.mark.parametrize(("scenario", "lost"), [("killed", 2), ("first-killed", 0)])
def test_ranks_that_work_alone_are_ended_when_one_is_killed(ended, scenario, lost):
    told, codes = ended(scenario)
    assert codes[lost] == -9
    assert told[lost] is None
    for rank in {0, 1, 2} - {lost}:
        assert (told[rank]["how"], told[rank]["what"]) == ("gave up", f"rank {lost} {GONE}")
        assert told[rank]["seconds"] < 30


def test_the_error_of_a_rank_is_told_to_the_others(ended):
    told, _ = ended("failed")
    assert told[1]["how"] == "ZeroDivisionError"
    for rank in (0, 2):
        assert told[rank]["how"] == "gave up"
        assert told[rank]["what"] == (
            "rank 1 failed: ZeroDivisionError: loss is 0/0 in cycle 7; the last checkpoint is kept"
        )


def test_the_error_of_a_collective_names_the_rank_that_was_lost(ended):
    told, _ = ended("killed-in-a-collective")
    for rank in (0, 1):
        assert (told[rank]["how"], told[rank]["what"]) == ("RunError", f"rank 2 {GONE}")


@pytest.mark.parametrize("scenario", ["left", "first-left"])
def test_ranks_that_leave_in_order_alarm_nobody(ended, scenario):
    told, codes = ended(scenario)
    assert codes == [0, 0, 0]
    assert {one["how"] for one in told} <= {"left", "InterruptedRunError"}
