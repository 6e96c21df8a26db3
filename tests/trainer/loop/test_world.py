import pytest
import torch

from igpo_trainer.loop.world import WORLD_FILE, World
from igpo_trainer.spec.errors import InvalidRunError


def test_a_world_comes_back_from_a_checkpoint_and_an_older_checkpoint_says_nothing(tmp_path):
    assert World.load(tmp_path) is None
    here = World.here(3, torch.device("cpu"))
    assert here == World(3, torch.get_num_threads(), "cpu")
    here.save(tmp_path)
    assert World.load(tmp_path) == here
    assert here.changes(here) == ""


def test_another_number_of_processes_is_said_to_change_the_last_bits_and_the_work():
    assert World(4, 1, "cpu").changes(World(2, 1, "cpu")) == (
        "was saved by 4 processes × 1 thread on cpu and is resumed by 2 processes × 1 thread on cpu: each process does "
        "2 times the work it did; prompts, noise, hints and the loss stay what they were, but sums are rounded in "
        "another order, so from here on weights differ in their last bits from those of a run that was not moved"
    )
    assert "each process does 0.25 times the work it did; " in World(1, 2, "cpu").changes(World(4, 2, "cpu"))


def test_other_threads_or_devices_change_the_last_bits_only():
    said = World(1, 1, "cpu").changes(World(1, 8, "cpu"))
    assert said.startswith("was saved by 1 process × 1 thread on cpu and is resumed by 1 process × 8 threads on cpu: p")
    assert "times the work" not in said
    assert "NVIDIA" in World(1, 1, "cpu").changes(World(1, 1, "NVIDIA H100"))


def test_a_damaged_file_is_refused_in_one_line(tmp_path):
    (tmp_path / WORLD_FILE).write_text('{"processes": "many"}')
    with pytest.raises(InvalidRunError, match=r"world\.json is damaged"):
        World.load(tmp_path)
