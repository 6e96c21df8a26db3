"""Memory runs out for real: a child process is given an address space that its batch does not fit in."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from igpo_trainer.loop.batching import BatchSizes
from igpo_trainer.loop.ranks import Ranks
from igpo_trainer.loop.room import Room
from igpo_trainer.observe.evaluations import read_evaluation
from igpo_trainer.spec.errors import RunError

SCRIPT = Path(__file__).parent / "little_memory.py"
SCRATCH = {"hiddenSize": 32, "layers": 1, "heads": 8, "intermediateSize": 32, "maxPositions": 320}
LONG = {
    "model": {"scratch": SCRATCH, "precision": "FP32", "attention": "Eager", "from": None},
    "sampling": {"completionLength": 256, "steps": 2, "blockLength": 128},
    "checkpoints": {"everySteps": 1},
}
RL = LONG | {"algorithm": "GRPO", "groupSize": 4, "promptsPerStep": 8, "steps": 1, "objective": {"innerUpdates": 1}}
MEBIBYTES = 64  # a row of 300 tokens takes 3 of them for each of some copies of its attention scores
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}
"""No thread reserves an arena of its own, and what is freed is given back: room means the same at each allocation."""


def in_little_memory(desk, document, mebibytes=MEBIBYTES):
    """What the child tells, and what it logs."""
    desk.load(desk.root, document)
    finished = subprocess.run(
        [sys.executable, SCRIPT, desk.root / "manifest.yaml", desk.root, str(mebibytes)],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | ENVIRONMENT,
    )
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout.splitlines()[-1]), finished.stderr


def evaluations(desk, name):
    folder = desk.root / "IGPOTraining" / name / "evaluations"
    return {path.name: read_evaluation(path).samples for path in sorted(folder.rglob("*.jsonl*"))}


def test_rollouts_go_on_with_fewer_rows_draw_the_same_and_a_resumed_run_keeps_to_them(desk):
    batching = {"rolloutRows": 32, "updateGroups": 1}
    told, logged = in_little_memory(desk, desk.igpo("little", **RL, batching=batching))
    rows = told["last"][0]
    assert told["error"] is None
    assert told["first"] == [32, 1]
    assert 1 <= rows < 32
    assert told["counted"].keys() <= {"evaluate", "rollout", "no_signal"}
    assert sum(told["counted"].get(phase, 0) for phase in ("evaluate", "rollout")) == (32 // rows).bit_length() - 1
    assert "memory ran out with 32 rollout rows, going on with 16; batching.rolloutRows: 16" in logged

    desk.train(desk.igpo("ample", **RL, batching=batching))
    assert evaluations(desk, "little") == evaluations(desk, "ample") != {}

    with desk.session(desk.igpo("little", **RL, batching=batching)) as resumed:
        assert (resumed.batch_sizes.rollout_rows, resumed.worker.rows) == (rows, rows)


@pytest.mark.parametrize(("kind", "mebibytes"), [("igpo", MEBIBYTES), ("sft", MEBIBYTES // 2)])
def test_an_update_goes_on_with_fewer_groups(desk, kind, mebibytes):
    batching = {"rolloutRows": 1, "updateGroups": 8}
    change = RL if kind == "igpo" else LONG | {"length": {"target": 256}, "training": {"steps": 1, "batchSize": 8}}
    told, logged = in_little_memory(desk, getattr(desk, kind)("little", **change, batching=batching), mebibytes)
    assert told["error"] is None
    assert (told["first"], told["last"][0]) == ([1, 8], 1)
    assert 1 <= told["last"][1] < 8
    phases = {"logprob", "update"} if kind == "igpo" else {"update"}
    assert sum(told["counted"].get(phase, 0) for phase in phases) == (8 // told["last"][1]).bit_length() - 1
    assert "memory ran out with 8 rows in a pass, going on with 4; batching.updateGroups: 4" in logged


def test_a_run_without_room_for_one_row_ends_with_one_line_that_says_what_to_lower(desk):
    told, _ = in_little_memory(desk, desk.igpo("little", **RL, batching={"rolloutRows": 4}), mebibytes=1)
    assert told["last"][0] == 1
    assert "memory ran out with 1 rollout row of" in told["error"]
    assert "sampling.completionLength" in told["error"]


def test_an_update_without_room_for_one_group_is_counted_and_ends_the_run(desk):
    document = LONG | {"length": {"target": 256}, "training": {"steps": 1, "batchSize": 2}}
    told, _ = in_little_memory(desk, desk.sft("little", **document, batching={"updateGroups": 2}), mebibytes=1)
    assert told["counted"] == {"update": 1, "oom": 1}
    assert "step 1: memory ran out with 1 rows (batching.updateGroups) in a pass of 1 processes" in told["error"]


def test_other_errors_are_not_taken_for_a_lack_of_memory(desk):
    with desk.session(desk.igpo(batching={"updateGroups": 4})) as session:

        def work():
            raise RuntimeError("shapes do not match")

        with pytest.raises(RuntimeError, match="shapes do not match"):
            session.room.fit(work, 1)
        assert session.batch_sizes.update_rows == 4


def test_of_several_processes_none_begins_a_pass_again(desk):
    with desk.session(desk.igpo(batching={"updateGroups": 4})) as session:
        room = Room(BatchSizes(4, 4), session.policy, Ranks(world=2))
        with pytest.raises(RunError, match=r"in a pass of 2 processes; set .*, lower it"):
            room.fit(lambda: bytearray(2**62), 1)
