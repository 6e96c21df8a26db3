"""Loss, gradient, rollouts and whole runs do not depend on micro-batches, accumulation or the number of processes."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from igpo_trainer.loop.batching import BatchSizes
from igpo_trainer.loop.ranks import Ranks
from igpo_trainer.loop.room import Room
from igpo_trainer.loop.update import Updater
from igpo_trainer.observe.evaluations import read_evaluation
from igpo_trainer.spec.errors import InvalidRunError

HERE = Path(__file__).parent
SEVERAL = [2, 4]


def module():
    """The program whose processes train; pytest keeps tests from importing each other's files."""
    sys.path.insert(0, str(HERE))
    try:
        spec = importlib.util.spec_from_file_location("trainers", HERE / "trainers.py")
        loaded = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(loaded)
    finally:
        sys.path.remove(str(HERE))
    return loaded


TRAINERS = module()


class Worlds:
    """What real groups of 1, 2 and 4 gloo processes have left."""

    def __init__(self, folder):
        self.folder = folder

    def told(self, world):
        """By rank."""
        return [
            json.loads((self.folder / str(world) / f"rank-{rank}" / "told.json").read_text()) for rank in range(world)
        ]

    def tensors(self, world, name):
        """By rank."""
        folder = self.folder / str(world)
        return [load_file(folder / f"rank-{rank}" / f"{name}.safetensors") for rank in range(world)]

    def run(self, world, document):
        return self.folder / str(world) / "runs" / document["kind"] / document["metadata"]["name"]


@pytest.fixture(scope="module")
def worlds(tmp_path_factory, bases):
    folder = tmp_path_factory.mktemp("worlds")
    command = [sys.executable, str(HERE / "trainers.py"), str(folder), str(bases)]
    subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True, timeout=380)
    return Worlds(folder)


def assert_same(found, expected, tolerance):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}")


UPDATES = [
    *(f"{name}-{case}" for name in TRAINERS.IGPO_DOCUMENTS for case in TRAINERS.IGPO_CASES),
    *(f"{name}-{case}" for name in TRAINERS.SFT_DOCUMENTS for case in TRAINERS.SFT_CASES),
]


@pytest.mark.timeout(400)
@pytest.mark.parametrize("world", SEVERAL)
@pytest.mark.parametrize("updates", UPDATES)
def test_updates_on_several_processes_are_those_of_one(worlds, world, updates):
    (alone,), (expected,) = worlds.told(1), worlds.tensors(1, updates)
    assert len({loss for loss, _ in alone[updates]}) == len(alone[updates]) in {1, 10}
    for told, found in zip(worlds.told(world), worlds.tensors(world, updates), strict=True):
        assert_same(found, expected, 1e-10)
        for ours, theirs in zip(told[updates], alone[updates], strict=True):
            assert ours == pytest.approx(theirs, rel=1e-10)


@pytest.mark.parametrize("world", SEVERAL)
@pytest.mark.parametrize("case", TRAINERS.IGPO_CASES)
def test_sharded_weights_learn_what_copies_do(worlds, world, case):
    copies, parts = (worlds.tensors(world, f"{name}-{case}")[0] for name in ("igpo", "igpo-sharded"))
    assert_same(parts, copies, 1e-10)


def test_one_process_restores_what_several_have_saved_in_parts(worlds, desk):
    (document,) = TRAINERS.load(desk.root, TRAINERS.IGPO_DOCUMENTS["igpo"])
    policy = TRAINERS.fp64_policy(document, desk.place())
    for world in SEVERAL:
        kept, rank = worlds.folder / str(world) / "kept" / "igpo-sharded", worlds.folder / str(world) / "rank-0"
        assert len(list(kept.glob("weights-*-of-*.safetensors"))) == world
        policy.load(kept)
        assert policy.updates == 10
        for part, found in (("weights", TRAINERS.weights(policy)), ("moments", TRAINERS.moments(policy))):
            assert_same(found, load_file(rank / f"igpo-sharded-{part}.safetensors"), 0)


@pytest.mark.parametrize("world", SEVERAL)
def test_live_rollouts_of_the_first_cycle_are_those_of_one_process(worlds, world):
    (alone,) = worlds.told(1)
    groups, rescued = alone["live"]
    assert groups != rescued
    for told in worlds.told(world):
        assert told["live"] == alone["live"]


@pytest.mark.parametrize("world", SEVERAL)
def test_the_rescue_of_all_groups_is_shared_evenly_whatever_ranks_their_prompts_fell_on(worlds, world):
    (alone,) = worlds.told(1)
    for first, *others in zip(alone["shares"], *(told["shares"] for told in worlds.told(world)), strict=True):
        assert sum(others) == first > 0
        assert max(others) - min(others) <= 1


def test_a_rank_short_of_memory_samples_and_scores_less_at_once_and_the_others_keep_to_that(worlds):
    (alone,), several = worlds.told(1), worlds.told(2)
    assert alone["little-rollouts"] == [4, [], alone["live"][0]]
    assert alone["little-scores"] == [4, []]
    for told in several:
        assert told["little-rollouts"] == [1, [2], alone["live"][0]]
        assert told["little-scores"] == [1, [2]]
    (expected,) = worlds.tensors(1, "little-scores")
    for found in worlds.tensors(2, "little-scores"):
        assert_same(found, expected, 1e-10)


def test_a_rank_without_memory_for_its_part_of_an_update_ends_all_with_what_to_set(worlds):
    folder = worlds.folder / "without-memory"
    first, last = (json.loads((folder / f"rank-{rank}" / "told.json").read_text()) for rank in range(2))
    said = (
        "step 1: memory ran out with 2 rows (batching.updateGroups) in a pass of 2 processes; "
        "set model.gradientCheckpointing: Always, lower it, or give each process more memory"
    )
    assert last == [said, None]
    assert first == [f"rank 1 failed: RunError: {said}; the last checkpoint is kept", "PeerLost"]


@pytest.mark.parametrize("world", SEVERAL)
def test_every_rank_takes_part_in_equally_many_collectives(worlds, world):
    first, *others = (told["collectives"] for told in worlds.told(world))
    assert len(first) > len(UPDATES)
    assert all(counted == first for counted in others)


def without_loss(event):
    """What no rounding of weights changes."""
    return {name: value for name, value in event.items() if name != "sft_loss"}


def test_whole_runs_on_two_processes_are_those_of_one(worlds, desk):
    for document in TRAINERS.WHOLE:
        one, both = worlds.run(1, document), worlds.run(2, document)
        final = [load_file(folder / "final" / "model.safetensors") for folder in (one, both)]
        assert {weight.dtype for weight in final[0].values()} == {torch.float64}
        assert_same(final[1], final[0], 1e-10)
        for kind in ("data", "evaluation", "checkpoint"):
            found, expected = ([without_loss(event) for event in desk.events(run, kind)] for run in (both, one))
            assert found == expected
        losses = [[event["sft_loss"] for event in desk.events(run, "evaluation")] for run in (both, one)]
        assert losses[0] == pytest.approx(losses[1], abs=1e-10)
        kept = [sorted((folder / "evaluations").rglob("*.jsonl")) for folder in (one, both)]
        assert kept[0]
        assert [read_evaluation(path).samples for path in kept[1]] == [read_evaluation(p).samples for p in kept[0]]
        for mine, theirs in zip(desk.events(one, "step"), desk.events(both, "step"), strict=True):
            for name in ("groups_initial", "groups_final", "completions_initial", "rescue", "tokens", "hint_tokens"):
                assert mine.get(name) == theirs.get(name)
            assert mine["loss"] == pytest.approx(theirs["loss"], abs=1e-10)


def test_a_stop_told_to_one_process_is_saved_by_all(worlds):
    assert [told["stopped"] for told in worlds.told(2)] == [75, 75]


def test_a_run_moved_from_two_processes_to_four_and_to_one_says_what_changes_and_ends_as_one_never_moved(
    worlds, bases, desk, caplog
):
    assert [worlds.told(world)[0]["moved"] for world in SEVERAL] == [75, 75]
    document = TRAINERS.IGPO_DOCUMENTS["igpo"]
    with TRAINERS.double_precision():
        moved = type(desk)(worlds.folder / "moved", bases).train(document)
    alone = worlds.run(1, document)
    assert "step-00000001 was saved by 4 processes × 1 thread on cpu and is resumed by 1 process" in caplog.text
    final = [load_file(folder / "final" / "model.safetensors") for folder in (alone, moved)]
    assert_same(final[1], final[0], 1e-10)
    for kind in ("data", "evaluation", "checkpoint"):
        assert desk.events(moved, kind) == desk.events(alone, kind)
    for mine, theirs in zip(desk.events(alone, "step"), desk.events(moved, "step"), strict=True):
        assert mine["completions_initial"] == theirs["completions_initial"]
        assert mine["loss"] == pytest.approx(theirs["loss"], abs=1e-10)


def test_a_part_without_room_ends_the_save_on_all_ranks_and_the_last_checkpoint_is_kept(worlds):
    first, second = (told["no-room"] for told in worlds.told(2))
    assert second[0].startswith("disk full while saving")
    assert "step-00000002: it needs" in second[0]
    assert "step-00000001 is kept" in second[0]
    assert first == [f"rank 1 failed: {second[0]}", "DiskFull"]
    (folder,) = (worlds.folder / "2" / "no-room").rglob("checkpoints")
    assert [path.name for path in folder.iterdir()] == ["step-00000001"]


def test_a_damaged_part_of_a_checkpoint_is_refused_by_name(worlds, bases, desk):
    shutil.copytree(worlds.folder / "2" / "no-room", desk.root / "damaged")
    (part,) = (desk.root / "damaged").rglob("weights-00002-of-00002.safetensors")
    content = bytearray(part.read_bytes())
    content[-1] ^= 1
    part.write_bytes(content)
    with pytest.raises(
        InvalidRunError, match=r"weights-00002-of-00002\.safetensors has other contents than were saved"
    ):
        type(desk)(desk.root / "damaged", bases).train(TRAINERS.IGPO_DOCUMENTS["igpo"])


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("change", [{}, {"normalization": "TokenMean", "ratio": "Token"}, {"logProbs": "RandomMask"}])
def test_loss_and_gradient_do_not_depend_on_the_micro_batch(desk, change, size, collected):
    (document,) = TRAINERS.load(desk.root, desk.igpo(promptsPerStep=5, objective=change))
    with desk.loop(desk.igpo(promptsPerStep=5, objective=change)) as loop:
        loop.session.policy = TRAINERS.fp64_policy(document, desk.place())
        scorer, scored = collected(loop)
        scorer = TRAINERS.CycleScorer(loop.spec, loop.session.policy, loop.session.data.train, 1)
        scored = scorer.score([s.group for s in scored])
        seen = []
        for groups_per_batch in (5, size):
            policy = TRAINERS.fp64_policy(document, desk.place())
            scorer = TRAINERS.CycleScorer(loop.spec, policy, loop.session.data.train, 1)
            room = Room(BatchSizes(1, groups_per_batch), policy, Ranks())
            updater = Updater(loop.spec.objective, policy, Ranks(), 1.0, room, lambda: None)
            result = updater.update(scorer, scored, 1)
            seen.append(({n: p.detach() for n, p in policy.trainable.items()}, result))
    assert_same(seen[1][0], seen[0][0], 1e-10)
    assert seen[1][1].sums.loss == pytest.approx(seen[0][1].sums.loss, rel=1e-10, abs=1e-14)
    assert seen[1][1].gradient_norm == pytest.approx(seen[0][1].gradient_norm, rel=1e-10)
    assert seen[0][1].gradient_norm > 0
