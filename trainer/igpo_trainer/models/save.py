"""A trained policy written as a plain model that others load without us."""

import copy
import json
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from igpo_trainer.models.llada import llada_config, llada_name
from igpo_trainer.models.load import Family
from igpo_trainer.models.lora import merged_weights, save_adapter
from igpo_trainer.models.staging import staged_folder
from igpo_trainer.models.weights import write_weights

ADAPTER_DIR = "adapter"


def save_model(
    model: LlamaForCausalLM | PeftModel, tokenizer: PreTrainedTokenizerFast, folder: Path, *, family: Family = "Llama"
) -> None:
    """Write the policy as safetensors with config and tokenizer; an existing `folder` is replaced in one rename.

    Weights are fp32 (fp64 stays), adapters merged into a copy; the live model is not touched. The adapter itself goes
    into `adapter/`. Family Llama loads with transformers' `LlamaForCausalLM.from_pretrained`, bidirectional; family
    LLaDA has the public LLaDA names.

    Raises:
        RunError: the folder cannot be written; what was there before is kept.
        InvalidRunError: LLaDA's format cannot hold this model.

    """
    config = model.config
    with staged_folder(folder) as staging:
        weights = merged_weights(model)
        if family == "LLaDA":
            described = llada_config(config)
            write_weights(staging, ((llada_name(name), weight) for name, weight in weights))
            _write_json(staging / "config.json", described)
        else:
            write_weights(staging, weights)
            _plain_config(config, next(model.parameters()).dtype).save_pretrained(staging)
        tokenizer.save_pretrained(staging)
        if isinstance(model, PeftModel):
            save_adapter(model, staging / ADAPTER_DIR)


def _plain_config(config: LlamaConfig, weights: torch.dtype) -> LlamaConfig:
    plain = copy.deepcopy(config)
    plain.is_causal = False
    plain.architectures = ["LlamaForCausalLM"]
    plain.dtype = torch.promote_types(weights, torch.float32)
    return plain


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
