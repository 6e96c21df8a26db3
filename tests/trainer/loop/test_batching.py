import pytest
from hypothesis import given
from hypothesis import strategies as st

from igpo_trainer.loop import batching
from igpo_trainer.loop.batching import (
    BATCHING_FILE,
    CPU_BUDGET_BYTES,
    MEMORY_SHARE,
    MOST_ROWS,
    BatchSizes,
    needs_recomputation,
    rollout_rows,
    update_rows,
)
from igpo_trainer.models.denoiser import Denoiser
from igpo_trainer.models.scratch import build_scratch
from igpo_trainer.models.tokens import SpecialTokens
from igpo_trainer.spec.model import BatchingSpec, ScratchModel


def tiny():
    lm, tokenizer = build_scratch(ScratchModel(hidden_size=32, layers=2, heads=2, intermediate_size=48), 0)
    lm.config.mask_token_id = tokenizer.mask_token_id
    return Denoiser(lm, SpecialTokens.of(tokenizer, lm.config))


DENOISER = tiny()


@given(st.integers(1, 10_000), st.integers(1, 10_000))
def test_a_number_that_is_asked_for_is_taken(asked, positions):
    assert rollout_rows(asked, DENOISER, positions, 8) == asked
    assert update_rows(asked, DENOISER, positions, recompute=False) == asked


@given(st.integers(1, 200_000), st.integers(1, 4096))
def test_auto_stays_between_1_and_the_most(positions, block):
    assert 1 <= rollout_rows("Auto", DENOISER, positions, block) <= MOST_ROWS["cpu"]
    assert 1 <= update_rows("Auto", DENOISER, positions, recompute=True) <= MOST_ROWS["cpu"]


@given(st.integers(1, 20_000))
def test_longer_rows_never_get_more_company(positions):
    assert rollout_rows("Auto", DENOISER, positions + 100, 8) <= rollout_rows("Auto", DENOISER, positions, 8)
    for recompute in (False, True):
        shorter = update_rows("Auto", DENOISER, positions, recompute=recompute)
        assert update_rows("Auto", DENOISER, positions + 100, recompute=recompute) <= shorter


def test_a_cache_leaves_room_for_fewer_rows(monkeypatch):
    monkeypatch.setattr(batching, "CPU_BUDGET_BYTES", 2**23)
    exact, cached, guided = (rollout_rows("Auto", DENOISER, 100, 8, kept) for kept in (0, 1, 2))
    assert exact > cached > guided >= 1


def test_the_cache_of_wide_heads_is_counted_by_their_own_width(monkeypatch):
    monkeypatch.setattr(batching, "CPU_BUDGET_BYTES", 2**23)
    wide, narrow = tiny(), tiny()
    wide.causal_lm.config.head_dim = 4 * narrow.causal_lm.config.head_dim
    assert rollout_rows("Auto", wide, 100, 8) == rollout_rows("Auto", narrow, 100, 8)
    assert rollout_rows("Auto", wide, 100, 8, 1) == rollout_rows("Auto", narrow, 100, 8, 4)


def test_recomputation_makes_room_for_more_rows():
    kept = update_rows("Auto", DENOISER, 4000, recompute=False)
    assert 1 <= kept < update_rows("Auto", DENOISER, 4000, recompute=True)


@pytest.mark.parametrize("positions", [1000, 3000])
def test_auto_keeps_the_estimate_within_the_budget(positions):
    rows = update_rows("Auto", DENOISER, positions, recompute=False)
    attention = 2 * 2 * positions * positions * 4
    assert rows * 2 * attention <= CPU_BUDGET_BYTES


def test_rows_on_the_longer_canvas_are_fewer():
    spec = BatchingSpec()
    alike = BatchSizes.choose(spec, DENOISER, 1000, 8, recompute=False)
    assert alike.context_rows == 1
    sizes = BatchSizes.choose(spec, DENOISER, 1000, 8, context_positions=3000, recompute=False)
    assert sizes.context_rows == update_rows("Auto", DENOISER, 3000, recompute=False) < sizes.update_rows
    assert (sizes.rollout_rows, sizes.update_rows) == (alike.rollout_rows, alike.update_rows)
    asked = BatchSizes.choose(BatchingSpec(update_groups=5), DENOISER, 1, 8, context_positions=9, recompute=False)
    assert (asked.update_rows, asked.context_rows) == (5, 5)


def test_processes_agree_on_what_each_has_room_for():
    assert BatchSizes.least([BatchSizes(7, 3, 2), BatchSizes(5, 9, 2), BatchSizes(6, 4, 1)]) == BatchSizes(5, 3, 1)


def test_a_resumed_run_keeps_the_sizes_it_chose_itself(tmp_path):
    BatchSizes(7, 3, 2).save(tmp_path)
    assert BatchSizes(64, 64, 64).kept(BatchingSpec(), tmp_path) == BatchSizes(7, 3, 2)


def test_a_checkpoint_from_before_there_was_a_longer_canvas_is_read(tmp_path):
    (tmp_path / BATCHING_FILE).write_text('{"rollout_rows":7,"update_rows":3}')
    assert BatchSizes(64, 64).kept(BatchingSpec(), tmp_path) == BatchSizes(7, 3, 1)


def test_sizes_in_the_manifest_win_over_those_of_the_checkpoint(tmp_path):
    BatchSizes(7, 3, 2).save(tmp_path)
    assert BatchSizes(64, 5, 5).kept(BatchingSpec(update_groups=5), tmp_path) == BatchSizes(7, 5, 5)


def test_a_fresh_run_takes_the_sizes_that_fit():
    assert BatchSizes(64, 5).kept(BatchingSpec(), None) == BatchSizes(64, 5)


@pytest.mark.parametrize(("before", "after"), [((8, 4), (4, 2)), ((3, 1), (1, 1)), ((1, 2), (1, 1))])
def test_an_update_halves_until_each_of_its_sizes_is_1(before, after):
    sizes = BatchSizes(9, *before)
    assert sizes.halve_updates()
    assert (sizes.rollout_rows, sizes.update_rows, sizes.context_rows) == (9, *after)
    assert not BatchSizes(9, 1, 1).halve_updates()


def test_a_resumed_run_keeps_what_is_left_of_the_sizes_the_manifest_asks_for_until_it_asks_for_others(tmp_path):
    spec = BatchingSpec(rollout_rows=64, update_groups=8)
    sizes = BatchSizes.choose(spec, DENOISER, 100, 8, recompute=False)
    sizes.rollout_rows = 16
    assert sizes.halve_updates()
    sizes.save(tmp_path)
    again = BatchSizes.choose(spec, DENOISER, 100, 8, recompute=False).kept(spec, tmp_path)
    assert (again.rollout_rows, again.update_rows) == (16, 4)
    other = BatchingSpec(rollout_rows=32, update_groups=8)
    changed = BatchSizes.choose(other, DENOISER, 100, 8, recompute=False).kept(other, tmp_path)
    assert (changed.rollout_rows, changed.update_rows, changed.rollout_asked) == (32, 4, 32)


def test_little_free_memory_chooses_few_rows(monkeypatch):
    monkeypatch.setattr(batching, "available_bytes", lambda _: 2**22)
    few = rollout_rows("Auto", DENOISER, 100, 8)
    assert 1 <= few < MOST_ROWS["cpu"]
    assert few * 100 * 100 * 2 * 4 <= MEMORY_SHARE * 2**22


def test_activations_are_made_again_only_where_those_of_the_rows_asked_for_do_not_fit():
    assert not needs_recomputation(DENOISER, 1000)
    assert needs_recomputation(DENOISER, 1000, rows=1000)
    assert needs_recomputation(DENOISER, 20_000)
