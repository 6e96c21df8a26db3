"""Random bidirectional Llamas of any shape, with the words, problems and requests that go with them."""

import string
from itertools import islice, product

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from igpo_trainer.data.problem import EncodedProblem, Problem
from igpo_trainer.diffusion.canvas import CanvasRequest
from igpo_trainer.diffusion.noise import NoiseKey
from igpo_trainer.models.denoiser import Denoiser, Precision
from igpo_trainer.models.lora import add_lora
from igpo_trainer.models.tokens import SpecialTokens
from igpo_trainer.spec.model import LoraSpec
from speed.shape import Shape

PAD, EOS, FIRST_WORD = 0, 1, 2


def denoiser_of(shape: Shape, device: torch.device, *, seed: int = 0, precision: Precision = "FP32") -> Denoiser:
    """Build a network that never ends a completion: what an end token saves is no part of a ratio.

    With BF16 the base of adapters is stored in it, as the trainer does; weights are made on the device.
    """
    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        max_position_embeddings=max(2048, shape.width),
        tie_word_embeddings=shape.tied,
        initializer_range=0.05 if shape.hidden < 1024 else 0.02,
        use_cache=False,
    )
    config.is_causal = False
    stored = torch.bfloat16 if precision == "BF16" and shape.rank else torch.float32
    torch.manual_seed(seed)
    default = torch.get_default_dtype()
    torch.set_default_dtype(stored)
    try:
        with device:
            lm = LlamaForCausalLM(config).eval()
    finally:
        torch.set_default_dtype(default)
    lm.set_attn_implementation("sdpa")
    policy = add_lora(lm, LoraSpec(rank=shape.rank, alpha=shape.rank / 2), seed=seed) if shape.rank else lm
    return Denoiser(policy.eval(), tokens_of(shape), precision=precision)


def tokens_of(shape: Shape) -> SpecialTokens:
    """Special ids; the end token is banned beside the mask."""
    mask_id = shape.vocabulary - 1
    return SpecialTokens(mask_id, EOS, PAD, (EOS, mask_id))


def words_of(shape: Shape) -> list[str]:
    """One word a token id, of letters alone: no answer is in them."""
    letters = string.ascii_lowercase
    return ["".join(word) for word in islice(product(letters, repeat=4), shape.vocabulary)]


def tokenizer_of(shape: Shape) -> PreTrainedTokenizerFast:
    """A tokenizer with these words."""
    words = words_of(shape)
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token=words[PAD]))
    )


def problems_of(shape: Shape, seed: int = 0, *, mixed: bool = False) -> list[EncodedProblem]:
    """Problems with random prompts, and traces of two thirds of the canvas; `mixed` prompts go down to half."""
    words, problems = words_of(shape), []
    generator = torch.Generator().manual_seed(seed)
    for row in range(shape.prompts):
        length = shape.prompt - mixed * row * shape.prompt // (2 * shape.prompts)
        ids = torch.randint(FIRST_WORD, shape.vocabulary - 1, (length + shape.canvas,), generator=generator).tolist()
        trace = ids[length : length + max(1, shape.canvas * 2 // 3)]
        spans = tuple((5 * k, 5 * k + 4) for k in range(len(trace)))
        problem = Problem(f"problem {row}", "", " ".join(words[i] for i in trace), "0")
        problems.append(EncodedProblem(problem, tuple(ids[:length]), tuple(trace), spans))
    return problems


def requests_of(problems: list[EncodedProblem], group: int, purpose: str, cycle: int = 1) -> list[CanvasRequest]:
    """G requests of each problem."""
    return [
        CanvasRequest(problem.prompt_ids, NoiseKey(0, purpose, cycle, row, sample))
        for row, problem in enumerate(problems)
        for sample in range(group)
    ]
