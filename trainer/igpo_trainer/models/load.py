"""From a manifest's `model` to a network ready to train."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import torch
from peft import PeftModel
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from igpo_trainer.models.adapt import adapt_to_masked_diffusion, ensure_mask_token
from igpo_trainer.models.assemble import assemble
from igpo_trainer.models.denoiser import Denoiser, Precision
from igpo_trainer.models.gguf import is_gguf, open_gguf
from igpo_trainer.models.llada import llama_config, llama_name
from igpo_trainer.models.lora import ADAPTER_CONFIG, add_lora, merge_adapter
from igpo_trainer.models.scratch import build_scratch, word_tokenizer
from igpo_trainer.models.source import model_folder
from igpo_trainer.models.tokenizer import read_tokenizer
from igpo_trainer.models.tokens import SpecialTokens
from igpo_trainer.models.weights import read_json, read_weights, weight_files
from igpo_trainer.spec.errors import InvalidRunError
from igpo_trainer.spec.model import ModelSpec

Family = Literal["Llama", "LLaDA"]
"""The format of a checkpoint: transformers' own, or the public one of LLaDA."""

_ATTENTION: Final = {"SDPA": "sdpa", "Eager": "eager", "Flex": "flex_attention"}


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A policy network and what belongs to it. `lm` is a LlamaForCausalLM, or a PEFT model over one."""

    lm: LlamaForCausalLM | PeftModel
    tokenizer: PreTrainedTokenizerFast
    tokens: SpecialTokens
    family: Family
    precision: Precision

    def denoiser(self) -> Denoiser:
        """Wrap the network; the weights are shared, not copied."""
        shift = bool(getattr(self.lm.config, "logit_shift", False))
        return Denoiser(self.lm, self.tokens, precision=self.precision, logit_shift=shift)

    @property
    def max_positions(self) -> int:
        """Longest prompt plus canvas the network was built for, in tokens."""
        return int(self.lm.config.max_position_embeddings)


def load_model(spec: ModelSpec, *, seed: int, from_folder: Path | None = None) -> LoadedModel:
    """Build the policy of `spec` on the CPU, in eval mode; `from_folder` is the resolved folder of `model.from`.

    Activations are kept unless the spec says Always: Auto needs to know rows and memory, which are the caller's.
    Trained weights are fp32; under LoRA the frozen base has the compute precision. Scratch weights and fresh adapters
    are pure functions of `seed`. An adapter that `from_folder` holds without its model is merged once, in fp32.

    Raises:
        InvalidRunError: files are missing, damaged, disagree, or are of an unsupported kind.
        RunError: the hub cannot be reached.

    """
    if spec.attention == "Flex" and not torch.cuda.is_available():
        raise InvalidRunError("model.attention Flex cannot train without a GPU; set SDPA or Eager")
    stored = torch.bfloat16 if spec.lora is not None and spec.precision == "BF16" else torch.float32
    lm, tokenizer, family = _origin(spec, seed, from_folder, stored)
    tokens = SpecialTokens.of(tokenizer, lm.config, where=_where(spec, from_folder))
    lm.config.mask_token_id = tokens.mask_id
    lm.set_attn_implementation(_ATTENTION[spec.attention])
    lm.model.embed_tokens.padding_idx = None  # where padding is the end token it would never learn
    for weight in lm.parameters():  # not lm.to(): RoPE's frequencies stay fp32
        weight.data = weight.data.to(stored)
    policy = lm if spec.lora is None else add_lora(lm, spec.lora, seed=seed)
    if spec.gradient_checkpointing == "Always":
        recompute_activations(lm)
    return LoadedModel(policy.eval(), tokenizer, tokens, family, spec.precision)


def load_tokenizer(spec: ModelSpec, *, from_folder: Path | None = None) -> PreTrainedTokenizerFast:
    """The tokenizer that `load_model` would come with; no weights are read, and none fetched from the hub.

    Raises what load_model raises for missing or damaged files and an unreachable hub.
    """
    if from_folder is None and spec.scratch is not None:
        return word_tokenizer()
    if from_folder is None and spec.source is None:
        raise ValueError("model.from needs the folder of the run it names")
    if from_folder is None and is_gguf(str(spec.source)):
        _, tokenizer, _ = open_gguf(Path(str(spec.source)).expanduser())
    else:
        folder = from_folder or model_folder(str(spec.source), spec.revision, weights=False)
        base = _adapter_base(folder)
        tokenizer = read_tokenizer(folder if base is None else model_folder(base, weights=False))
    if spec.adapt is not None:
        ensure_mask_token(tokenizer)
    return tokenizer


def recompute_activations(lm: LlamaForCausalLM) -> None:
    """Keep no activations inside blocks; the backward pass makes them again. Takes effect in train mode only."""
    renamed = hasattr(lm, "activation_checkpointing_enable")  # in recent transformers, where the older name warns
    enable = lm.activation_checkpointing_enable if renamed else lm.gradient_checkpointing_enable
    enable({"use_reentrant": False})


def _where(spec: ModelSpec, from_folder: Path | None) -> str:
    return str(from_folder or spec.source or "model.scratch")


def _origin(
    spec: ModelSpec, seed: int, from_folder: Path | None, stored: torch.dtype
) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast, Family]:
    if from_folder is None and spec.scratch is not None:
        return *build_scratch(spec.scratch, seed), "Llama"
    if from_folder is None and spec.source is None:
        raise ValueError("model.from needs the folder of the run it names")
    if from_folder is None and is_gguf(str(spec.source)):
        return *_read_gguf(Path(str(spec.source)).expanduser(), stored), "Llama"
    folder = from_folder if from_folder is not None else model_folder(str(spec.source), spec.revision)
    if (base := _adapter_base(folder)) is not None:
        lm, tokenizer, family = _read(model_folder(base), torch.float32, spec.adapt)
        merge_adapter(lm, folder)
        return lm, tokenizer, family
    return _read(folder, stored, spec.adapt)


def _adapter_base(folder: Path) -> str | None:
    """What an adapter without its model was made for; None for the folder of a model."""
    if not (folder / ADAPTER_CONFIG).is_file() or (folder / "config.json").is_file():
        return None
    base = read_json(folder / ADAPTER_CONFIG).get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise InvalidRunError(f"{folder} holds an adapter that names no base model; give the merged model instead")
    return base


def _read(
    folder: Path, stored: torch.dtype, adapt: Literal["MaskedDiffusion"] | None
) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast, Family]:
    """Read a model folder. Code in it, and `auto_map`, which points at code, are never looked at."""
    if not (folder / "config.json").is_file() and (files := sorted(folder.glob("*.gguf"))):
        raise InvalidRunError(f"{folder} holds no config.json but GGUF; name the file itself, for example {files[0]}")
    raw = read_json(folder / "config.json")
    kind = raw.get("model_type")
    if "quantization_config" in raw:
        raise InvalidRunError(f"{folder}: quantised weights are not supported; use the fp32, fp16 or bf16 model")
    tokenizer = read_tokenizer(folder)
    if kind == "llada":
        if adapt is not None:
            raise InvalidRunError(f"{folder} is a diffusion model already; remove model.adapt")
        config = llama_config(raw, str(folder))
        return assemble(config, read_weights(weight_files(folder)), llama_name, stored, folder), tokenizer, "LLaDA"
    if kind != "llama":
        raise InvalidRunError(
            f"{folder}: model_type {kind!r} is not supported, and code in a checkpoint is never run; "
            "use a model of type llada or llama"
        )
    config = _native_config(raw, folder)
    diffusion = raw.get("is_causal") is False
    if diffusion and adapt is not None:
        raise InvalidRunError(f"{folder} is a diffusion model already; remove model.adapt")
    if not diffusion and adapt is None:
        raise InvalidRunError(
            f"{folder} is a causal model (is_causal is not false in config.json); set model.adapt: MaskedDiffusion"
        )
    lm = assemble(config, read_weights(weight_files(folder)), lambda name: name, stored, folder)
    if adapt is not None:
        adapt_to_masked_diffusion(lm, tokenizer)
    return lm, tokenizer, "Llama"


def _read_gguf(file: Path, stored: torch.dtype) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    config, tokenizer, tensors = open_gguf(file)
    lm = assemble(config, tensors, lambda name: name, stored, file)
    adapt_to_masked_diffusion(lm, tokenizer)
    return lm, tokenizer


def _native_config(raw: dict[str, Any], folder: Path) -> LlamaConfig:
    known = {key: value for key, value in raw.items() if key not in ("auto_map", "model_type", "transformers_version")}
    try:
        return LlamaConfig(**known)
    except Exception as error:  # transformers' validators share no base class
        reason = " ".join(str(error).split())
        raise InvalidRunError(f"{folder / 'config.json'} is no valid Llama configuration: {reason}") from error
