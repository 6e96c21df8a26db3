"""The sampler against a plain textbook one, and what must hold whatever the batch."""

from collections.abc import Sequence
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM

from igpo_trainer.diffusion.canvas import CanvasRequest, Completion
from igpo_trainer.diffusion.noise import NoiseKey
from igpo_trainer.diffusion.sampler import sample
from igpo_trainer.spec.sampling import SamplingSpec

VOCABULARY, MASK, EOS, PAD = 41, 40, 1, 0
BANNED = (MASK, 39)
TOKENS = SimpleNamespace(mask_id=MASK, eos_id=EOS, pad_id=PAD)


class TinyModel:
    """A real bidirectional Llama of two small layers, and a count of what is asked of it."""

    def __init__(self, dtype: torch.dtype = torch.float64, end_bias: float = 0.0) -> None:
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=128,
            initializer_range=0.6,
        )
        config.is_causal = False
        self.lm = LlamaForCausalLM(config).to(dtype).eval()
        self.end_bias = end_bias
        self.tokens = TOKENS
        self.device = torch.device("cpu")
        self.calls = 0
        self.batches: list[tuple[int, int]] = []
        self.positions = 0

    def logits(self, ids_BS: torch.Tensor, attention_BS: torch.Tensor) -> torch.Tensor:
        position_ids = (attention_BS.long().cumsum(-1) - 1).clamp(min=0)
        with torch.no_grad():
            logits_BSV = self.lm(ids_BS, attention_mask=attention_BS, position_ids=position_ids, use_cache=False).logits
        logits_BSV[..., EOS] += self.end_bias
        logits_BSV[..., BANNED] = float("-inf")
        return logits_BSV

    def logits_at(self, ids_BS, attention_BS, rows_M, columns_M):
        self.calls += 1
        self.batches.append(tuple(ids_BS.shape))
        self.positions += len(rows_M)
        return self.logits(ids_BS, attention_BS)[rows_M, columns_M]


def textbook(model: TinyModel, request: CanvasRequest, spec: SamplingSpec) -> list[int]:
    """LLaDA's generate(), one row, all steps, logits and Gumbel noise over the whole sequence in fp64."""
    prompt, length, block_length = len(request.prompt_ids), spec.completion_length, spec.block_length
    x = torch.tensor([*request.prompt_ids, *[MASK] * length])
    for index, token in request.hints.items():
        x[prompt + index] = token
    attention = torch.ones(1, len(x), dtype=torch.long)
    steps = spec.steps * block_length // length
    for block in range(length // block_length):
        start, end = prompt + block * block_length, prompt + (block + 1) * block_length
        count = int((x[start:end] == MASK).sum())
        for step in range(steps):
            transfer = count // steps + (1 if step < count % steps else 0)
            masked = x == MASK
            logits = model.logits(x[None], attention)[0].double()
            if spec.cfg_scale > 0:
                unconditional = x.clone()
                unconditional[:prompt] = MASK
                other = model.logits(unconditional[None], attention)[0].double()
                logits = other + (spec.cfg_scale + 1) * (logits - other)
                logits[:, BANNED] = float("-inf")
            uniform = torch.full((len(x), VOCABULARY), 0.5, dtype=torch.float64)
            active = [i for i in range(start, end) if masked[i]]
            if spec.temperature > 0:
                source = request.key.generator(block * steps + step)
                uniform[active] = torch.rand(len(active), VOCABULARY, generator=source, dtype=torch.float64)
                noisy = logits.exp() / (-uniform.log()) ** spec.temperature
            else:
                noisy = logits
            x0 = noisy.argmax(-1)
            if spec.remasking == "LowConfidence":
                confidence = logits.softmax(-1)[range(len(x)), x0]
            else:
                confidence = torch.zeros(len(x), dtype=torch.float64)
                source = request.key.generator(block * steps + step, 1)
                confidence[active] = torch.rand(len(active), generator=source, dtype=torch.float64)
            ranked = sorted(active, key=lambda i: (-float(confidence[i]), i))
            for i in ranked[:transfer]:
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
    requests = []
    for sample_index in range(draw(st.integers(1, 5))):
        prompt = draw(st.lists(st.integers(2, 38), min_size=1, max_size=7))
        hints = draw(st.dictionaries(st.integers(0, length - 1), st.integers(1, 38), max_size=length))
        key = NoiseKey(draw(st.integers(0, 9)), "rollout", 0, 0, sample_index)
        requests.append(CanvasRequest(tuple(prompt), key, hints))
    return requests


MODEL = TinyModel()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_tokens_up_to_the_first_end_token_are_those_of_a_textbook_sampler(data: st.DataObject) -> None:
    spec = data.draw(sampling_specs())
    requests = data.draw(request_lists(spec.completion_length))
    model = TinyModel(end_bias=data.draw(st.sampled_from([0.0, 4.0])))
    rows = data.draw(st.integers(1, 4))
    completions = sample(model, requests, spec, rows=rows, noise_dtype=torch.float64)
    for request, completion in zip(requests, completions, strict=True):
        expected = textbook(model, request, spec)
        assert completion == Completion.cut(expected, EOS)
