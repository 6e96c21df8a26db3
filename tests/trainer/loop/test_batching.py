import pytest
from hypothesis import given
from hypothesis import strategies as st

from igpo_trainer.loop import batching
from igpo_trainer.loop.batching import BATCHING_FILE, CPU_BUDGET_BYTES, MOST_ROWS, BatchSizes, rollout_rows, update_rows
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
