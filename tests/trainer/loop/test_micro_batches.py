import math

from hypothesis import given
from hypothesis import strategies as st

from igpo_trainer.loop.micro_batches import MicroBatch, micro_batches
from igpo_trainer.loop.ranks import Ranks

CANVASES = st.lists(st.sampled_from([16, 40]), min_size=1, max_size=20)


def on_every_rank(canvas_B, world, sizes):
    return [micro_batches(canvas_B, Ranks(rank, world), sizes.__getitem__) for rank in range(world)]


@given(CANVASES, st.integers(1, 5), st.integers(1, 6), st.integers(1, 6))
def test_every_row_is_computed_once_on_its_own_canvas_by_ranks_in_step(canvas_B, world, short, long):
    sizes = {16: short, 40: long}
    everywhere = on_every_rank(canvas_B, world, sizes)
    counted = [b for work in everywhere for part in work if part.weight for b in part.rows]
    assert sorted(counted) == list(range(len(canvas_B)))
    for parts in zip(*everywhere, strict=True):
        (canvas,) = {part.canvas_length for part in parts}
        assert all(1 <= len(part.rows) <= sizes[canvas] for part in parts)
        assert all(canvas_B[b] == canvas for part in parts for b in part.rows)
        assert any(part.weight == 1 for part in parts)
        assert {part.weight for part in parts} <= {0, 1}


@given(st.integers(1, 30), st.integers(1, 5), st.integers(1, 8))
def test_rows_of_one_canvas_are_cut_as_they_come(count, world, size):
    most = math.ceil(math.ceil(count / world) / size)
    for rank, work in enumerate(on_every_rank([16] * count, world, {16: size})):
        mine = list(range(rank, count, world))
        parts = [MicroBatch(mine[i : i + size], 16, 1.0) for i in range(0, len(mine), size)]
        assert work == parts + [MicroBatch([0], 16, 0.0)] * (most - len(parts))
