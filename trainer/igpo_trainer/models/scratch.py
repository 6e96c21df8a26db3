"""A small, randomly initialised masked diffusion Llama with the tokenizer that ships with igpo."""

from importlib.resources import as_file, files

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from igpo_trainer.models.number_init import add_number_features
from igpo_trainer.spec.model import ScratchModel

LARGEST_NUMBER = 99
"""Every whole number from 0 to this is one token."""


def word_tokenizer() -> PreTrainedTokenizerFast:
    """Load the shipped word-level tokenizer: one token a word, sign, mark and number 0 to LARGEST_NUMBER."""
    with as_file(files("igpo_trainer.models") / "word_tokenizer") as folder:
        tokenizer: PreTrainedTokenizerFast = PreTrainedTokenizerFast.from_pretrained(folder)
        return tokenizer


def number_tokens(tokenizer: PreTrainedTokenizerFast) -> dict[int, int]:
    """Token id → value of every number token."""
    return {token_id: int(token) for token, token_id in sorted(tokenizer.get_vocab().items()) if token.isdecimal()}


def build_scratch(spec: ScratchModel, seed: int) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """Build the model in fp32, bidirectional, with an untied head; a pure function of its arguments.

    The global random state is left as it was.
    """
    tokenizer = word_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=spec.hidden_size,
        intermediate_size=spec.intermediate_size,
        num_hidden_layers=spec.layers,
        num_attention_heads=spec.heads,
        num_key_value_heads=spec.heads,
        max_position_embeddings=spec.max_positions,
        tie_word_embeddings=False,
        use_cache=False,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype="float32",
    )
    config.is_causal = False
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        lm = LlamaForCausalLM(config)
    if spec.number_init == "Fourier":
        tables = (lm.model.embed_tokens.weight, lm.lm_head.weight)
        add_number_features(tables, number_tokens(tokenizer), torch.Generator().manual_seed(seed))
    lm.eval()  # type: ignore[no-untyped-call]  # transformers leaves it untyped
    return lm, tokenizer
