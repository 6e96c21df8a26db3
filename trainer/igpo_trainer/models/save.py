"""A trained policy written as a plain model that others load without us."""

import copy
import json
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors import SafetensorError
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from igpo_trainer.folder import whole_folder
from igpo_trainer.models.llada import llada_config, llada_name
from igpo_trainer.models.load import Family
from igpo_trainer.models.lora import merged_weights, save_adapter
from igpo_trainer.models.weights import write_weights
from igpo_trainer.spec.errors import RunError

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
    try:
        with whole_folder(folder) as draft:
            _fill(draft, model, tokenizer, family)
    except (OSError, SafetensorError) as error:
        raise RunError(
            f"{folder}: cannot be written ({getattr(error, 'strerror', None) or error}); free space or "
            "correct the permissions, then resume"
        ) from error


def _fill(
    folder: Path, model: LlamaForCausalLM | PeftModel, tokenizer: PreTrainedTokenizerFast, family: Family
) -> None:
    weights = merged_weights(model)
    if family == "LLaDA":
        described = llada_config(model.config)
        write_weights(folder, ((llada_name(name), weight) for name, weight in weights))
        _write_json(folder / "config.json", described)
    else:
        write_weights(folder, weights)
        _plain_config(model.config, next(model.parameters()).dtype).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if isinstance(model, PeftModel):
        save_adapter(model, folder / ADAPTER_DIR)


def _plain_config(config: LlamaConfig, weights: torch.dtype) -> LlamaConfig:
    plain = copy.deepcopy(config)
    plain.is_causal = False
    plain.architectures = ["LlamaForCausalLM"]
    plain.dtype = torch.promote_types(weights, torch.float32)
    return plain


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
