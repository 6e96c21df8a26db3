"""What the sampler does not compute, and how it behaves at its edges."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from igpo_trainer.diffusion import selection
from igpo_trainer.diffusion.canvas import CanvasRequest
from igpo_trainer.diffusion.noise import NoiseKey
from igpo_trainer.diffusion.sampler import SamplingStoppedError, sample
from igpo_trainer.spec.errors import InvalidDataError, InvalidRunError, RunError
from igpo_trainer.spec.sampling import SamplingSpec

VOCABULARY, EOS, MASK = 41, 1, 40
NEVER, ALWAYS = -50.0, 50.0  # end-token biases
SPEC = SamplingSpec(completion_length=16, block_length=4, steps=16, temperature=1.0)


def requests_of(count: int, *, prompt: int = 5, **fields) -> list[CanvasRequest]:
    return [
        CanvasRequest(tuple(range(2, 2 + prompt)), NoiseKey(0, "rollout", 0, 0, index), **fields)
        for index in range(count)
    ]


def test_a_row_stops_when_its_completed_blocks_hold_an_end_token(predictor_of) -> None:
    ending, running = predictor_of(ALWAYS), predictor_of(NEVER)
    (short,) = sample(ending, requests_of(1), SPEC, rows=1)
    (long,) = sample(running, requests_of(1), SPEC, rows=1)
    assert (ending.calls, running.calls) == (4, 16)
    assert (short.ids, short.length) == ((EOS,) * 16, 1)
    assert (long.length, EOS in long.ids) == (16, False)


def test_an_end_token_inside_an_unfinished_block_does_not_stop_the_row(predictor_of) -> None:
    model = predictor_of(NEVER)
    hints = {3: EOS}
    (completion,) = sample(model, requests_of(1, hints=hints), SPEC, rows=1)
    assert model.calls == 3  # the block's other three positions are still denoised
    assert completion.length == 4
    assert EOS not in completion.ids[:3]


def test_hints_behind_the_end_leave_with_the_end_fill(predictor_of) -> None:
    (completion,) = sample(predictor_of(ALWAYS), requests_of(1, hints={9: 7}), SPEC, rows=1)
    assert completion.ids == (EOS,) * 16


def test_steps_without_a_quota_are_not_computed(predictor_of) -> None:
    model = predictor_of(NEVER)
    hints = {0: 5, 1: 6, 4: 5, 5: 5, 6: 5, 7: 5}  # 2 masks in block 0, none in block 1, 4 in blocks 2 and 3
    sample(model, requests_of(1, hints=hints), SPEC, rows=1)
    assert model.calls == 2 + 0 + 4 + 4
    assert model.positions == [2, 1, 4, 3, 2, 1, 4, 3, 2, 1]


def test_a_canvas_of_hints_alone_needs_no_forward(predictor_of) -> None:
    model = predictor_of()
    full, ended = (CanvasRequest((2, 3), NoiseKey(0, "r", 0, 0, 0), dict.fromkeys(range(16), 7)) for _ in range(2))
    ended.hints[5] = EOS
    completions = sample(model, [full, ended], SPEC, rows=2)
    assert model.calls == 0
    assert [completion.length for completion in completions] == [16, 6]


def test_an_end_token_in_a_block_of_hints_alone_stops_the_row(predictor_of) -> None:
    model = predictor_of(NEVER)
    (completion,) = sample(model, requests_of(1, hints={4: 7, 5: EOS, 6: 7, 7: 7}), SPEC, rows=1)
    assert model.calls == 4
    assert completion.length == 6


def test_a_row_with_fewer_masks_does_not_wait_for_its_neighbours(predictor_of) -> None:
    model = predictor_of(NEVER)
    hinted = requests_of(1, hints=dict.fromkeys(range(12), 7))
    sample(model, hinted + requests_of(1), SPEC, rows=2)
    assert [rows for rows, _ in model.batches] == [2] * 4 + [1] * 12


def test_waiting_requests_take_the_place_of_finished_rows(predictor_of) -> None:
    model = predictor_of(NEVER)
    hinted = requests_of(3, hints=dict.fromkeys(range(12), 7))
    sample(model, requests_of(1) + hinted, SPEC, rows=2)
    assert [rows for rows, _ in model.batches] == [2] * 12 + [1] * 4


def test_the_batch_is_no_wider_than_its_longest_prompt(predictor_of) -> None:
    model = predictor_of(NEVER)
    requests = requests_of(2, prompt=3) + requests_of(2, prompt=20)
    sample(model, requests, SPEC, rows=2)
    assert model.batches == [(1, 36)] + [(2, 36)] * 15 + [(1, 19)] + [(2, 19)] * 15


def test_rows_whose_canvases_are_still_equal_share_a_forward(predictor_of) -> None:
    model = predictor_of(NEVER)
    sample(model, requests_of(4) + requests_of(4, hints={2: 9}), SPEC, rows=8)
    assert model.batches[0][0] == 2
    assert model.batches[1][0] == 8


class LargestTensor(TorchDispatchMode):
    """Element counts of the largest tensor any operation made, and of the largest with a vocabulary in it."""

    elements = 0
    logits = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self.elements = max(self.elements, leaf.numel())
                if VOCABULARY in leaf.shape:
                    self.logits = max(self.logits, leaf.numel())
        return result


@pytest.mark.parametrize("cfg_scale", [0.0, 1.0])
@pytest.mark.parametrize("remasking", ["LowConfidence", "Random"])
def test_no_rollout_step_makes_a_tensor_of_all_positions_by_the_vocabulary(predictor_of, cfg_scale, remasking) -> None:
    spec = SPEC.model_copy(update={"cfg_scale": cfg_scale, "remasking": remasking})
    model = predictor_of(NEVER)
    with LargestTensor() as largest:
        sample(model, requests_of(6, prompt=9), spec, rows=6)
    assert largest.elements < 6 * (9 + 16) * VOCABULARY
    assert largest.logits == 6 * 4 * VOCABULARY  # rows × block × vocabulary


def test_noise_in_chunks_gives_the_same_tokens(predictor_of, monkeypatch) -> None:
    whole = sample(predictor_of(), requests_of(7), SPEC, rows=7)
    for elements in (1, 9 * VOCABULARY):
        monkeypatch.setattr(selection, "CHUNK_ELEMENTS", elements)
        assert sample(predictor_of(), requests_of(7), SPEC, rows=7) == whole


def test_progress_adds_up_to_every_block_of_every_request(predictor_of) -> None:
    for bias in (NEVER, 3.0):
        blocks: list[int] = []
        hinted = requests_of(2, hints=dict.fromkeys(range(4), 7)) + requests_of(1, hints=dict.fromkeys(range(16), 7))
        sample(predictor_of(bias), requests_of(5) + hinted, SPEC, rows=3, progress=blocks.append)
        assert min(blocks) > 0
        assert sum(blocks) == 8 * SPEC.blocks
    blocks = []
    sample(predictor_of(), hinted[2:], SPEC, rows=3, progress=blocks.append)
    assert blocks == [SPEC.blocks]


@pytest.mark.parametrize("cache", ["None", "Dual"])
def test_each_completion_is_handed_over_once_as_soon_as_it_is_done(predictor_of, cache) -> None:
    spec = SPEC.model_copy(update={"cache": cache})
    hinted = requests_of(2, hints=dict.fromkeys(range(12), 7)) + requests_of(1, hints=dict.fromkeys(range(16), 7))
    model = predictor_of(NEVER)
    handed: list[tuple[int, dict[int, object]]] = []
    completions = sample(
        model, requests_of(3) + hinted, spec, rows=3, finished=lambda found: handed.append((model.calls, found))
    )
    assert {index: c for _, found in handed for index, c in found.items()} == dict(enumerate(completions))
    assert sum(len(found) for _, found in handed) == len(completions)
    assert handed[0][0] < model.calls


def test_sampling_stops_between_steps_when_told_to(predictor_of) -> None:
    model = predictor_of(NEVER)
    with pytest.raises(SamplingStoppedError):
        sample(model, requests_of(2), SPEC, rows=2, should_stop=lambda: model.calls == 3)
    assert model.calls == 3


def test_no_requests_need_no_forward(predictor_of) -> None:
    model = predictor_of()
    assert sample(model, [], SPEC, rows=4) == []
    assert model.calls == 0


def test_zero_rows_are_refused(predictor_of) -> None:
    with pytest.raises(InvalidRunError, match="0 rollout rows"):
        sample(predictor_of(), requests_of(1), SPEC, rows=0)


@pytest.mark.parametrize("hints", [{16: 5}, {-1: 5}, {3: MASK}])
def test_a_hint_that_cannot_stand_is_refused(predictor_of, hints) -> None:
    with pytest.raises(InvalidDataError, match=f"hint at canvas index {next(iter(hints))}"):
        sample(predictor_of(), requests_of(1, hints=hints), SPEC, rows=1)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_non_finite_logits_stop_the_run_with_one_line(predictor_of, temperature) -> None:
    spec = SPEC.model_copy(update={"temperature": temperature})
    with pytest.raises(RunError, match="non-finite logit at denoising step 0"):
        sample(predictor_of(float("nan")), requests_of(2), spec, rows=2)
