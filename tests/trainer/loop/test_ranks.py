import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st

from igpo_trainer.loop.ranks import Ranks
from igpo_trainer.spec.errors import RunError


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What each of two real gloo processes saw."""
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    processes = [
        subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("two_ranks.py")), str(folder / str(rank))],
            env=common | {"RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"},
        )
        for rank in range(2)
    ]
    try:
        codes = [process.wait(90) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert codes == [0, 0]
    return [json.loads((folder / str(rank)).read_text()) for rank in range(2)]


def test_ranks_know_their_place(seen):
    assert [one["place"] for one in seen] == [[0, 2, 0, True], [1, 2, 1, False]]


def test_objects_are_gathered_in_rank_order_everywhere(seen):
    assert all(one["gathered"] == [{"rank": 0}, {"rank": 1}] for one in seen)


def test_shares_are_disjoint_whole_and_even(seen):
    assert [one["share"]["5"] for one in seen] == [[0, 2, 4], [1, 3]]
    assert [one["share"]["1"] for one in seen] == [[0], []]
    assert [one["share"]["0"] for one in seen] == [[], []]


@pytest.mark.parametrize("length", [0, 1, 2, 5])
def test_pooled_results_come_back_in_order_on_every_rank(seen, length):
    assert all(one["pooled"][str(length)] == [n * n for n in range(length)] for one in seen)


def test_collectives_inside_pooled_work_are_matched(seen):
    assert all(one["collective_inside"] == [3.0, 3.0, 3.0] for one in seen)


def test_an_error_on_one_rank_ends_pooled_work_on_all_with_the_same_class(seen):
    assert seen[1]["one_fails"] == "InvalidDataError: row 7 has no answer"
    assert seen[0]["one_fails"] == "InvalidDataError: rank 1 failed: row 7 has no answer"


def test_work_of_the_main_rank_is_done_there_and_its_error_is_raised_everywhere(seen):
    zero = "integer division or modulo by zero"
    assert seen[0]["on_main"] == ["made once", "InvalidDataError: no such folder", f"ZeroDivisionError: {zero}"]
    assert seen[1]["on_main"] == [
        None,
        "InvalidDataError: rank 0 failed: no such folder",
        f"RunError: rank 0 failed: ZeroDivisionError: {zero}",
    ]


def test_what_the_main_rank_finds_is_told_to_all(seen):
    assert [one["from_main"][0] for one in seen] == ["rank 0", "rank 0"]
    assert [one["from_main"][1] for one in seen] == [one["on_main"][1] for one in seen]


def test_an_unforeseen_error_is_its_own_on_its_rank_and_named_on_others(seen):
    assert seen[0]["unforeseen"].startswith("ZeroDivisionError")
    assert seen[1]["unforeseen"].startswith("RunError: rank 0 failed: ZeroDivisionError: ")


def test_missing_results_are_an_error(seen):
    assert seen[0]["short"] == "RunError: pooled work returned 0 results for 2 items"


def test_ranks_that_hold_different_items_are_told(seen):
    assert all(one["unequal"] == "RunError: ranks disagree on the pooled work: [1, 2] items by rank" for one in seen)


def test_any_true_sees_a_flag_of_any_rank(seen):
    assert all(one["any"] == [False, True, True] for one in seen)


def test_a_sum_is_over_ranks_and_leaves_its_input_alone(seen):
    assert all(one["sum"] == [3.0, 20.0] for one in seen)
    assert [one["untouched"] for one in seen] == [[1.0, 10.0], [2.0, 10.0]]


def test_a_world_of_one_needs_no_process_group(monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "8")
    ranks = Ranks.join()
    assert (ranks.rank, ranks.world, ranks.is_main) == (0, 1, True)
    assert ranks.gather_objects("x") == ["x"]
    assert ranks.from_main(lambda: "x") == "x"
    assert ranks.any_true(True)
    assert not ranks.any_true(False)
    assert ranks.sum_tensor(torch.ones(2)).tolist() == [1.0, 1.0]
    ranks.barrier()
    ranks.leave()
    assert not dist.is_initialized()


def test_torchrun_with_one_process_is_a_world_of_one(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert Ranks.join() == Ranks()


def test_a_world_of_one_raises_the_error_of_pooled_work_itself():
    with pytest.raises(RunError, match="returned 1 results for 2 items"):
        Ranks().pooled([1, 2], lambda part: part[:1])


@given(st.lists(st.integers(), max_size=20), st.integers(1, 6))
def test_shares_of_all_ranks_are_the_items_and_differ_by_one_at_most(items, world):
    shares = [Ranks(rank, world).share(items) for rank in range(world)]
    assert sorted(item for share in shares for item in share) == sorted(items)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
