"""Low-rank adapters (Hu et al., 2021, arXiv 2106.09685) on the seven linear layers of every block.

The base is never written while training: with adapters off it is the policy the run started from, bit for bit.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor, nn
from transformers import LlamaForCausalLM

from igpo_trainer.models.denoiser import Denoiser
from igpo_trainer.models.keyed_dropout import KeyedDropout
from igpo_trainer.models.tensor_file import write_tensors
from igpo_trainer.models.weights import read_json, read_weights
from igpo_trainer.spec.errors import InvalidRunError
from igpo_trainer.spec.model import LoraSpec

ADAPTED_LINEARS: Final = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

ADAPTER_CONFIG: Final = "adapter_config.json"
_WEIGHTS: Final = "adapter_model.safetensors"


def add_lora(lm: LlamaForCausalLM, spec: LoraSpec, *, seed: int) -> PeftModel:
    """Freeze `lm` and put fresh fp32 adapters on it that change nothing yet (B = 0); A is a pure function of `seed`."""
    config = LoraConfig(
        r=spec.rank,
        lora_alpha=spec.alpha,  # type: ignore[arg-type]  # PEFT computes with any number but says int
        lora_dropout=spec.dropout,
        target_modules=list(ADAPTED_LINEARS),
        bias="none",
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # PEFT asks transformers for a property that newer versions have renamed.
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning)
        torch.manual_seed(seed)
        model = get_peft_model(lm, config, autocast_adapter_dtype=True)
    layers = [module for module in model.modules() if isinstance(module, LoraLinear)]
    adapted = len(layers)
    expected = len(ADAPTED_LINEARS) * lm.config.num_hidden_layers
    if adapted != expected:
        raise InvalidRunError(
            f"lora found {adapted} linear layers, not {expected}; the model is no Llama of known names"
        )
    if spec.dropout:
        for index, layer in enumerate(layers):
            layer.lora_dropout["default"] = KeyedDropout(spec.dropout, index)
    return model


@contextmanager
def reference_policy(denoiser: Denoiser) -> Iterator[Denoiser]:
    """Give the policy the run started from: the same weights with the adapters off. For the KL term.

    Leave it before `backward`: while it lasts, adapters take no gradient.

    Raises:
        TypeError: the denoiser has no adapters; full fine-tuning needs a frozen copy instead.

    """
    if not isinstance(denoiser.lm, PeftModel):
        raise TypeError("a model without adapters holds no reference policy; keep a frozen copy")
    with denoiser.lm.disable_adapter():
        yield denoiser


@torch.no_grad()
def merged_weights(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Weights of the policy under Llama's names, in fp32 or wider, adapters merged in; the model is not touched.

    One tensor at a time, so that a merged copy of the whole model never exists. Tied heads are left out.
    """
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    assert isinstance(base, LlamaForCausalLM)
    layers = {name: module for name, module in base.named_modules() if isinstance(module, LoraLinear)}
    for name, weight in base.state_dict().items():
        owner, _, leaf = name.rpartition(".")
        if ".lora_" in name or (name == "lm_head.weight" and base.config.tie_word_embeddings):
            continue
        if not owner.endswith(".base_layer"):
            yield name, _widened(weight)
            continue
        layer = layers[owner.removesuffix(".base_layer")]
        merged = _widened(weight).clone()
        for adapter in layer.active_adapters:
            merged += layer.get_delta_weight(adapter).to(merged.dtype)
        yield f"{owner.removesuffix('.base_layer')}.{leaf}", merged


def save_adapter(model: PeftModel, folder: Path) -> None:
    """Write the adapter in PEFT's format into `folder`, which is made."""
    folder.mkdir(parents=True)
    config = model.peft_config["default"]
    inference, config.inference_mode = config.inference_mode, True
    try:
        config.save_pretrained(str(folder))
    finally:
        config.inference_mode = inference
    state = get_peft_model_state_dict(model)
    adapter = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    write_tensors(folder / _WEIGHTS, adapter)


@torch.no_grad()
def merge_adapter(lm: LlamaForCausalLM, folder: Path) -> None:
    """Add the adapter saved in `folder` to the weights of a freshly loaded `lm`, once: W += alpha / r · B A.

    Raises:
        InvalidRunError: no plain LoRA adapter, or one of another model.

    """
    config = read_json(folder / ADAPTER_CONFIG)
    plain = config.get("peft_type") == "LORA" and not any(
        config.get(key) for key in ("use_dora", "use_rslora", "rank_pattern", "alpha_pattern", "modules_to_save")
    )
    if not plain:
        raise InvalidRunError(
            f"{folder / ADAPTER_CONFIG} is no plain LoRA adapter; merge it into its model before this run"
        )
    scale = float(config["lora_alpha"]) / int(config["r"])
    tensors = {name: tensor for name, tensor, _ in read_weights([folder / _WEIGHTS])}
    weights = dict(lm.named_parameters())
    strange = [name for name in tensors if not name.endswith((".lora_A.weight", ".lora_B.weight"))]
    if strange or not tensors:
        raise InvalidRunError(
            f"{folder / _WEIGHTS} holds {strange[0] if strange else 'nothing'}, not only LoRA matrices"
        )
    for name, down_RD in tensors.items():
        if not name.endswith(".lora_A.weight"):
            continue
        owner = name.removesuffix(".lora_A.weight").removeprefix("base_model.model.")
        up_OR, weight_OD = tensors.get(name.replace(".lora_A.", ".lora_B.")), weights.get(f"{owner}.weight")
        if up_OR is None or weight_OD is None or weight_OD.shape != (up_OR.shape[0], down_RD.shape[1]):
            raise InvalidRunError(
                f"{folder / _WEIGHTS}: {name} fits no weight of the model; use the adapter's own base"
            )
        weight_OD.add_((scale * _widened(up_OR) @ _widened(down_RD)).to(weight_OD.dtype))


def _widened(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
