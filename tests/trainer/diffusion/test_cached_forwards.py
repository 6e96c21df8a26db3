"""Sampling with a cache and with a threshold: against a plain one, against the exact one, whatever the batch."""

import math

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from igpo_trainer.diffusion.canvas import CanvasRequest, Completion
from igpo_trainer.diffusion.noise import NoiseKey
from igpo_trainer.diffusion.sampler import ForwardCount, sample
from igpo_trainer.spec.sampling import SamplingSpec

EOS, MASK, BANNED = 1, 40, [39, 40]
NEVER = -50.0  # end-token bias
SPEC = SamplingSpec(completion_length=16, block_length=4, steps=16, temperature=1.0)
NO_DEADLINE = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
CACHES = pytest.mark.parametrize("cache", ["Prefix", "Dual"])


class PlainLlama:
    """A Llama without the causal mask, from the weights of a transformers one."""

    def __init__(self, lm, end_bias: float, *, logit_shift: bool) -> None:
        self.weights = {name: weight.double() for name, weight in lm.state_dict().items()}
        self.heads, self.layers = lm.config.num_attention_heads, lm.config.num_hidden_layers
        self.end_bias, self.shift = end_bias, int(logit_shift)

    def forward(self, ids, columns, kept):
        """(logits of `columns`, keys and values of all); `kept` gives those of the columns that are not computed."""
        x = self.weights["model.embed_tokens.weight"][ids[columns]]
        everything = []
        for layer in range(self.layers):
            part = f"model.layers.{layer}."
            h = self._norm(x, part + "input_layernorm")
            q, k, v = (
                (h @ self.weights[f"{part}self_attn.{name}_proj.weight"].T).view(len(columns), self.heads, -1)
                for name in "qkv"
            )
            q, k = self._rotate(q, columns), self._rotate(k, columns)
            keys, values = (old.clone() for old in (kept[layer] if kept else (k, v)))
            keys[columns], values[columns] = k, v
            everything.append((keys, values))
            scores = torch.einsum("qhd,khd->hqk", q, keys) / math.sqrt(q.shape[-1])
            mixed = torch.einsum("hqk,khd->qhd", scores.softmax(-1), values).reshape(len(columns), -1)
            x = x + mixed @ self.weights[part + "self_attn.o_proj.weight"].T
            h = self._norm(x, part + "post_attention_layernorm")
            gate = torch.nn.functional.silu(h @ self.weights[part + "mlp.gate_proj.weight"].T)
            up = h @ self.weights[part + "mlp.up_proj.weight"].T
            x = x + (gate * up) @ self.weights[part + "mlp.down_proj.weight"].T
        logits = self._norm(x, "model.norm") @ self.weights["lm_head.weight"].T
        logits[:, EOS] += self.end_bias
        logits[:, BANNED] = float("-inf")
        return logits, everything

    def _norm(self, x, name):
        return x / (x.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt() * self.weights[name + ".weight"]

    @staticmethod
    def _rotate(x, columns):
        half = x.shape[-1] // 2
        angle = torch.tensor(columns).double()[:, None] / 10000.0 ** (torch.arange(half).double() / half)
        cos, sin = angle.cos()[:, None], angle.sin()[:, None]
        low, high = x[..., :half], x[..., half:]
        return torch.cat([low * cos - high * sin, high * cos + low * sin], -1)


def plain_cached(model: PlainLlama, request: CanvasRequest, spec: SamplingSpec) -> list[int]:
    """Fast-dLLM's generate() with a prefix or a dual cache, and with a confidence threshold if there is one."""
    prompt, length = len(request.prompt_ids), spec.block_length
    x = torch.tensor([*request.prompt_ids, *[MASK] * spec.completion_length])
    for index, token in request.hints.items():
        x[prompt + index] = token
    for block in range(spec.blocks):
        start = prompt + block * length
        end = start + length if spec.cache == "Dual" else len(x)
        count = int((x[start : start + length] == MASK).sum())
        kept, unguided_kept = None, None
        for step in range(spec.steps_per_block):
            active = [i for i in range(start, start + length) if x[i] == MASK]
            if not active:
                break
            columns = list(range(len(x))) if step == 0 else list(range(start - model.shift, end))
            logits, kv = model.forward(x, columns, kept)
            kept = kv if step == 0 else kept
            if spec.cfg_scale > 0:
                blind = x.clone()
                blind[:prompt] = MASK
                other, kv = model.forward(blind, columns, unguided_kept)
                unguided_kept = kv if step == 0 else unguided_kept
                logits = other + (spec.cfg_scale + 1) * (logits - other)
                logits[:, BANNED] = float("-inf")
            logits = logits[[columns.index(i - model.shift) for i in active]]
            scores, salt = logits, block * spec.steps_per_block + step
            if spec.temperature > 0:
                uniform = torch.rand(logits.shape, generator=request.key.generator(salt), dtype=torch.float64)
                scores = logits - spec.temperature * (-uniform.log()).log()
            x0 = scores.argmax(-1)
            probability = logits.softmax(-1).gather(1, x0[:, None])[:, 0]
            order = probability
            if spec.remasking == "Random":
                order = torch.rand(len(active), generator=request.key.generator(salt, 1), dtype=torch.float64)
            quota = count // spec.steps_per_block + (1 if step < count % spec.steps_per_block else 0)
            best = sorted(range(len(active)), key=lambda n: (-float(order[n]), n))[:quota]
            if spec.confidence_threshold is not None:
                best += [n for n in range(len(active)) if probability[n] >= spec.confidence_threshold]
            for n in best:
                x[active[n]] = x0[n]
    return x[prompt:].tolist()


def requests_of(count: int, **fields) -> list[CanvasRequest]:
    return [CanvasRequest((2, 3, 4, 5, 6), NoiseKey(0, "rollout", 0, 0, index), **fields) for index in range(count)]


@st.composite
def cases(draw: st.DrawFn, caches=("Prefix", "Dual")) -> tuple[SamplingSpec, list[CanvasRequest], dict, int]:
    block_length, blocks = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    threshold = draw(st.sampled_from([None, None, 0.05, 0.5, 1.0]))
    spec = SamplingSpec(
        completion_length=block_length * blocks,
        block_length=block_length,
        steps=blocks * draw(st.integers(1, block_length)),
        temperature=draw(st.sampled_from([0.0, 0.7, 1.3])),
        remasking="LowConfidence" if threshold else draw(st.sampled_from(["LowConfidence", "Random"])),
        cache=draw(st.sampled_from(caches)),
        confidence_threshold=threshold,
        cfg_scale=draw(st.sampled_from([0.0, 0.0, 0.8])),
    )
    requests = []
    for index in range(draw(st.integers(1, 5))):
        prompt = draw(st.lists(st.integers(2, 38), min_size=1, max_size=6))
        hints = draw(st.dictionaries(st.integers(0, spec.completion_length - 1), st.integers(1, 38)))
        key = NoiseKey(draw(st.integers(0, 3)), "rollout", 2, 0, index)
        requests.append(CanvasRequest(tuple(prompt), key, draw(st.sampled_from([hints, {}]))))
    model = {"end_bias": draw(st.sampled_from([0.0, 3.0])), "logit_shift": draw(st.booleans())}
    return spec, requests, model, draw(st.integers(1, 6))


@settings(max_examples=40, **NO_DEADLINE)
@given(case=cases())
def test_tokens_are_those_of_a_plain_cached_sampler_whatever_the_batch(predictor_of, case) -> None:
    spec, requests, options, rows = case
    model = predictor_of(**options)
    plain = PlainLlama(model.denoiser.lm, **options)
    expected = [Completion.cut(plain_cached(plain, request, spec), EOS) for request in requests]
    assert sample(model, requests, spec, rows=rows, noise_dtype=torch.float64) == expected
    for request, completion in zip(requests, expected, strict=True):
        for index, token in request.hints.items():
            assert completion.ids[index] == (token if index < completion.length else EOS)
        assert not {t for i, t in enumerate(completion.ids) if i not in request.hints} & set(BANNED)


@settings(max_examples=15, **NO_DEADLINE)
@given(case=cases(caches=("None",)))
def test_a_cache_that_is_refreshed_at_every_step_samples_exactly(predictor_of, case) -> None:
    exact, requests, options, rows = case
    exact = exact.model_copy(update={"steps": exact.blocks})  # a block's only step is its first
    model = predictor_of(**options)
    expected = sample(model, requests, exact, rows=rows, noise_dtype=torch.float64)
    for cache in ("Prefix", "Dual"):
        spec = exact.model_copy(update={"cache": cache})
        assert sample(model, requests, spec, rows=rows, noise_dtype=torch.float64) == expected


@CACHES
def test_a_window_over_the_only_block_is_the_canvas_without_its_prompt(predictor_of, cache) -> None:
    model = predictor_of(NEVER)
    spec = SPEC.model_copy(update={"block_length": 16, "steps": 4, "cache": cache})
    sample(model, requests_of(2), spec, rows=2)
    assert model.batches == [(1, 21)] + [(2, 16)] * 3


@pytest.mark.parametrize(("cache", "windows"), [("Prefix", (16, 12, 8, 4)), ("Dual", (4, 4, 4, 4))])
def test_a_block_costs_one_whole_forward_and_narrow_ones(predictor_of, cache, windows) -> None:
    model, count = predictor_of(NEVER), ForwardCount()
    sample(model, requests_of(3), SPEC.model_copy(update={"cache": cache}), rows=3, count=count)
    expected = []
    for block, width in enumerate(windows):
        expected += [(1 if block == 0 else 3, 21), *[(3, width)] * 3]
    assert model.batches == expected
    assert (count.whole, count.windows) == (4, 12)
    assert count.columns == sum(rows * width for rows, width in expected)


@CACHES
def test_a_cache_gives_other_tokens_than_exact_sampling(predictor_of, cache) -> None:
    requests = requests_of(8)
    exact = sample(predictor_of(NEVER), requests, SPEC, rows=8)
    assert sample(predictor_of(NEVER), requests, SPEC.model_copy(update={"cache": cache}), rows=8) != exact


@pytest.mark.parametrize("cache", ["None", "Dual"])
def test_a_threshold_no_prediction_reaches_changes_nothing_and_one_all_reach_takes_a_step_a_block(
    predictor_of, cache
) -> None:
    plain = SPEC.model_copy(update={"cache": cache})
    calls, completions = [], []
    for threshold in (None, 1.0, 1e-30):
        count = ForwardCount()
        spec = plain.model_copy(update={"confidence_threshold": threshold})
        completions.append(sample(predictor_of(NEVER), requests_of(3), spec, rows=3, count=count))
        calls.append(count.whole + count.windows)
    assert calls == [16, 16, 4]
    assert completions[0] == completions[1] != completions[2]


def test_forwards_with_a_threshold_are_never_more_than_the_steps_and_never_fewer_than_the_blocks(predictor_of) -> None:
    used = []
    for threshold in (0.9, 0.3, 0.1):
        count = ForwardCount()
        spec = SPEC.model_copy(update={"confidence_threshold": threshold})
        sample(predictor_of(NEVER), requests_of(1), spec, rows=1, count=count)
        used.append(count.whole)
    assert all(SPEC.blocks <= calls <= SPEC.steps for calls in used)
    assert used[0] > used[-1]
