"""Causal Llama models turned into masked diffusion ones."""

from typing import Final

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

MASK_TOKEN: Final = "<|mdm_mask|>"  # noqa: S105 - a vocabulary entry
VOCABULARY_MULTIPLE: Final = 64
"""An enlarged vocabulary gets a multiple of this many rows: GPUs multiply odd sizes several times slower."""


def ensure_mask_token(tokenizer: PreTrainedTokenizerFast) -> None:
    """Give a tokenizer that has no mask token one, in place."""
    if tokenizer.mask_token_id is None:
        tokenizer.add_special_tokens({"mask_token": MASK_TOKEN})


@torch.no_grad()
def adapt_to_masked_diffusion(lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    """Turn `lm` bidirectional and give it and its tokenizer a mask token, in place, recorded in the config.

    The mask takes the first unused row of the vocabulary, or a new one; its embedding, and that of all other new rows,
    is the mean of the tokens' own. As in models adapted from autoregressive ones before (Gong et al., 2024, arXiv
    2410.17891), position i stays predicted from the hidden state of position i - 1 (`logit_shift`), which is what the
    weights learned. The mask and the rows without a token are never emitted: see SpecialTokens.
    """
    known = sorted(set(tokenizer.get_vocab().values()) - {tokenizer.mask_token_id})
    ensure_mask_token(tokenizer)
    mask_id = int(tokenizer.mask_token_id)
    rows = int(lm.config.vocab_size)
    if mask_id >= rows:
        with torch.random.fork_rng(devices=[]):  # transformers draws the new rows, which are set below
            lm.resize_token_embeddings(mask_id + 1, pad_to_multiple_of=VOCABULARY_MULTIPLE, mean_resizing=False)
    tokens = torch.tensor([token for token in known if token < rows])
    for weight_VD in (lm.model.embed_tokens.weight, lm.lm_head.weight):
        mean_D = weight_VD[tokens].float().mean(dim=0)
        weight_VD[rows:] = mean_D.to(weight_VD.dtype)
        weight_VD[mask_id] = mean_D.to(weight_VD.dtype)
    lm.config.is_causal = False
    lm.config.logit_shift = True
    lm.config.mask_token_id = mask_id
