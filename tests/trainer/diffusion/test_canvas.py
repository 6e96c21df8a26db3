"""Canvases in one left-padded tensor."""

import pickle

import torch

from igpo_trainer.diffusion.canvas import Canvases, CanvasRequest, Completion
from igpo_trainer.diffusion.noise import NoiseKey
from igpo_trainer.models.tokens import SpecialTokens

TOKENS = SpecialTokens(mask_id=9, eos_id=1, pad_id=0, banned_ids=(9,))
KEY = NoiseKey(0, "rollout", 0, 0, 0)


def canvases() -> Canvases:
    requests = [CanvasRequest((2, 3, 4), KEY, {1: 7}), CanvasRequest((5,), KEY), CanvasRequest((6, 7), KEY, {0: 8})]
    return Canvases.of(requests, 2, TOKENS, torch.device("cpu"))


def test_prompts_are_padded_on_the_left_and_hints_stand_on_a_canvas_of_masks() -> None:
    assert canvases().ids_NS.tolist() == [[2, 3, 4, 9, 7], [0, 0, 5, 9, 9], [0, 6, 7, 8, 9]]


def test_a_batch_is_cut_to_its_longest_prompt_and_attends_to_no_padding() -> None:
    ids_BS, attention_BS = canvases().gather(torch.tensor([2, 1]), 2)
    assert ids_BS.tolist() == [[6, 7, 8, 9], [0, 5, 9, 9]]
    assert attention_BS.tolist() == [[True] * 4, [False] + [True] * 3]


def test_a_gathered_batch_is_a_copy() -> None:
    all_canvases = canvases()
    ids_BS, _ = all_canvases.gather(torch.tensor([0]), 3)
    ids_BS[:] = 5
    assert all_canvases.ids_NS[0].tolist() == [2, 3, 4, 9, 7]


def test_a_completion_is_end_filled_behind_its_first_end_token() -> None:
    assert Completion.cut([4, 1, 9, 7], 1) == Completion((4, 1, 1, 1), 2)
    assert Completion.cut([1, 5], 1) == Completion((1, 1), 1)
    assert Completion.cut([4, 5], 1) == Completion((4, 5), 2)


def test_requests_and_completions_travel_between_processes() -> None:
    request = CanvasRequest((2, 3), KEY, {1: 7})
    assert pickle.loads(pickle.dumps(request)) == request
    assert pickle.loads(pickle.dumps(Completion((1,), 1))) == Completion((1,), 1)
