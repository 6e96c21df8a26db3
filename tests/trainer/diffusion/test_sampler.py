"""The sampler against a plain textbook one, and what must hold whatever the batch."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from igpo_trainer.diffusion.canvas import CanvasRequest, Completion
from igpo_trainer.diffusion.noise import NoiseKey
from igpo_trainer.diffusion.sampler import sample
from igpo_trainer.spec.sampling import SamplingSpec

EOS, MASK, BANNED = 1, 40, [39, 40]


def textbook(model, request: CanvasRequest, spec: SamplingSpec) -> list[int]:
    """LLaDA's generate() for one row: all steps, logits and Gumbel noise of the whole sequence, fp64."""
    prompt = len(request.prompt_ids)
    x = torch.tensor([*request.prompt_ids, *[MASK] * spec.completion_length])
    for index, token in request.hints.items():
        x[prompt + index] = token
    blocks = spec.completion_length // spec.block_length
    steps = spec.steps // blocks
    for block in range(blocks):
        start = prompt + block * spec.block_length
        count = int((x[start : start + spec.block_length] == MASK).sum())
        for step in range(steps):
            transfer = count // steps + (1 if step < count % steps else 0)
            active = [i for i in range(start, start + spec.block_length) if x[i] == MASK]
            logits = model.full_logits(x).double()
            if spec.cfg_scale > 0:
                unconditional = x.clone()
                unconditional[:prompt] = MASK
                other = model.full_logits(unconditional).double()
                logits = other + (spec.cfg_scale + 1) * (logits - other)
                logits[:, BANNED] = float("-inf")
            x0 = logits.argmax(-1)
            if spec.temperature > 0:
                uniform = torch.full(logits.shape, 0.5, dtype=torch.float64)
                source = request.key.generator(block * steps + step)
                uniform[active] = torch.rand(len(active), logits.shape[1], generator=source, dtype=torch.float64)
                x0 = (logits.exp() / (-uniform.log()) ** spec.temperature).argmax(-1)
            confidence = logits.softmax(-1)[range(len(x)), x0]
            if spec.remasking == "Random":
                source = request.key.generator(block * steps + step, 1)
                confidence[active] = torch.rand(len(active), generator=source, dtype=torch.float64)
            for i in sorted(active, key=lambda i: (-float(confidence[i]), i))[:transfer]:
                x[i] = x0[i]
    return x[prompt:].tolist()


@st.composite
def sampling_specs(draw: st.DrawFn) -> SamplingSpec:
    block_length = draw(st.integers(1, 6))
    blocks = draw(st.integers(1, 3))
    return SamplingSpec(
        completion_length=block_length * blocks,
        block_length=block_length,
        steps=blocks * draw(st.integers(1, block_length)),
        temperature=draw(st.sampled_from([0.0, 0.3, 1.0, 1.7])),
        remasking=draw(st.sampled_from(["LowConfidence", "LowConfidence", "Random"])),
        cfg_scale=draw(st.sampled_from([0.0, 0.0, 0.7])),
    )


@st.composite
def request_lists(draw: st.DrawFn, length: int) -> list[CanvasRequest]:
    prompts = draw(st.lists(st.lists(st.integers(2, 38), min_size=1, max_size=7), min_size=1, max_size=3))
    requests = []
    for sample_index in range(draw(st.integers(1, 6))):
        prompt = draw(st.integers(0, len(prompts) - 1))
        hints = draw(st.dictionaries(st.integers(0, length - 1), st.integers(1, 38), max_size=length))
        key = NoiseKey(draw(st.integers(0, 3)), "rollout", 2, prompt, sample_index)
        requests.append(CanvasRequest(tuple(prompts[prompt]), key, draw(st.sampled_from([hints, {}]))))
    return requests


@st.composite
def cases(draw: st.DrawFn) -> tuple[SamplingSpec, list[CanvasRequest], float, int]:
    spec = draw(sampling_specs())
    requests = draw(request_lists(spec.completion_length))
    return spec, requests, draw(st.sampled_from([0.0, 4.0])), draw(st.integers(1, 7))


@settings(max_examples=150, deadline=None)
@given(case=cases())
def test_tokens_up_to_the_first_end_token_are_those_of_a_textbook_sampler(predictor_of, case) -> None:
    spec, requests, end_bias, rows = case
    model = predictor_of(end_bias)
    completions = sample(model, requests, spec, rows=rows, noise_dtype=torch.float64)
    assert completions == [Completion.cut(textbook(model, request, spec), EOS) for request in requests]


@settings(max_examples=60, deadline=None)
@given(case=cases())
def test_a_hint_is_never_altered_and_no_banned_token_is_emitted(predictor_of, case) -> None:
    spec, requests, end_bias, rows = case
    for request, completion in zip(requests, sample(predictor_of(end_bias), requests, spec, rows=rows), strict=True):
        assert len(completion.ids) == spec.completion_length
        for index, token in request.hints.items():
            assert completion.ids[index] == (token if index < completion.length else EOS)
        written = [token for index, token in enumerate(completion.ids) if index not in request.hints]
        assert not set(BANNED) & set(written)


@settings(max_examples=40, deadline=None)
@given(case=cases(), data=st.data())
def test_a_completion_does_not_depend_on_its_batch_its_order_or_the_row_limit(predictor_of, case, data) -> None:
    spec, requests, end_bias, rows = case
    model = predictor_of(end_bias)
    together = sample(model, requests, spec, rows=rows)
    alone = [sample(model, [request], spec, rows=1)[0] for request in requests]
    order = data.draw(st.permutations(range(len(requests))))
    shuffled = sample(model, [requests[index] for index in order], spec, rows=len(requests))
    assert together == alone
    assert shuffled == [alone[index] for index in order]


def test_the_samples_of_a_group_differ_by_their_noise_alone(predictor_of) -> None:
    spec = SamplingSpec(completion_length=12, block_length=4, steps=12, temperature=1.2)
    requests = [CanvasRequest((5, 6, 7), NoiseKey(0, "rollout", 0, 0, index)) for index in range(8)]
    completions = sample(predictor_of(), requests, spec, rows=8)
    assert len(set(completions)) == 8


def test_temperature_zero_is_greedy_and_draws_no_noise(predictor_of) -> None:
    spec = SamplingSpec(completion_length=12, block_length=4, steps=6, temperature=0.0)
    requests = [CanvasRequest((5, 6, 7), NoiseKey(seed, "rollout", 0, 0, 0)) for seed in range(4)]
    assert len(set(sample(predictor_of(), requests, spec, rows=2))) == 1


def test_random_remasking_leaves_the_choice_of_tokens_but_changes_the_order(predictor_of) -> None:
    one_step = {"completion_length": 6, "block_length": 6, "steps": 1, "temperature": 1.0}
    request = CanvasRequest((5, 6, 7), NoiseKey(0, "rollout", 0, 0, 0))
    confident, by_lot = (
        sample(predictor_of(), [request], SamplingSpec(**one_step, remasking=remasking), rows=1)
        for remasking in ("LowConfidence", "Random")
    )
    assert confident == by_lot  # with a single step everything is kept
    several = one_step | {"steps": 6, "temperature": 0.0}
    orders = {
        sample(
            predictor_of(),
            [CanvasRequest((5, 6, 7), NoiseKey(seed, "rollout", 0, 0, 0))],
            SamplingSpec(**several, remasking="Random"),
            rows=1,
        )[0]
        for seed in range(8)
    }
    assert len(orders) > 1


def test_guidance_with_banned_tokens_stays_finite_and_asks_for_two_forwards_a_step(predictor_of) -> None:
    spec = SamplingSpec(completion_length=6, block_length=3, steps=4, temperature=1.0, cfg_scale=1.5)
    model = predictor_of(end_bias=-50.0)
    (completion,) = sample(model, [CanvasRequest((5, 6), NoiseKey(0, "rollout", 0, 0, 0))], spec, rows=1)
    assert model.calls == 8
    assert not set(BANNED) & set(completion.ids)
