"""Causal Llama models turned into masked diffusion ones."""

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

MASK_TOKEN = "<|mdm_mask|>"  # noqa: S105 - a vocabulary entry


def ensure_mask_token(tokenizer: PreTrainedTokenizerFast) -> None:
    """Give a tokenizer that has no mask token one, in place."""
    if tokenizer.mask_token_id is None:
        tokenizer.add_special_tokens({"mask_token": MASK_TOKEN})


@torch.no_grad()
def adapt_to_masked_diffusion(lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    """Turn `lm` bidirectional and give it and its tokenizer a mask token, in place, recorded in the config.

    The mask takes the first unused row of the vocabulary, or a new one; its embedding is the mean of the others. As in
    models adapted from autoregressive ones before (Gong et al., 2024, arXiv 2410.17891), position i stays predicted
    from the hidden state of position i - 1 (`logit_shift`), which is what the weights learned.
    """
    ensure_mask_token(tokenizer)
    mask_id = int(tokenizer.mask_token_id)
    if mask_id >= lm.config.vocab_size:
        lm.resize_token_embeddings(mask_id + 1, mean_resizing=False)
    for weight_VD in (lm.model.embed_tokens.weight, lm.lm_head.weight):
        weight_VD[mask_id] = weight_VD[:mask_id].float().mean(dim=0)
    lm.config.is_causal = False
    lm.config.logit_shift = True
    lm.config.mask_token_id = mask_id
