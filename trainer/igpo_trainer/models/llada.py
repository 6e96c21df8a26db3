"""LLaDA checkpoints as Llama ones, and back.

LLaDA-8B (Nie et al., 2025, arXiv 2502.09992) is a Llama without the causal mask: same block, other names. Its public
config.json keys and weight names are mapped to transformers' own classes, so that no code from a checkpoint ever runs.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, cast

from transformers import LlamaConfig

from igpo_trainer.spec.errors import InvalidRunError

_NEEDED: Final[Mapping[str, object]] = {
    "activation_type": "silu",
    "block_type": "llama",
    "layer_norm_type": "rms",
    "rope": True,
}
"""Keys whose absence means another architecture: LLaDA's own defaults for them are not Llama's."""

_UNSUPPORTED: Final[Mapping[str, object]] = {
    "alibi": False,
    "attention_layer_norm": False,
    "bias_for_layer_norm": False,
    "block_group_size": 1,
    "include_bias": False,
    "include_qkv_bias": False,
    "input_emb_norm": False,
    "layer_norm_with_affine": True,
    "rope_full_precision": True,
    "scale_logits": False,
}
"""Keys that may be absent or null, but must not say anything else. Dropout rates are not read: training uses none."""

_BLOCK_NAMES: Final[Mapping[str, str]] = {
    "q_proj": "self_attn.q_proj",
    "k_proj": "self_attn.k_proj",
    "v_proj": "self_attn.v_proj",
    "attn_out": "self_attn.o_proj",
    "ff_proj": "mlp.gate_proj",
    "up_proj": "mlp.up_proj",
    "ff_out": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ff_norm": "post_attention_layernorm",
}
_OUTER_NAMES: Final[Mapping[str, str]] = {
    "model.transformer.wte.weight": "model.embed_tokens.weight",
    "model.transformer.ln_f.weight": "model.norm.weight",
    "model.transformer.ff_out.weight": "lm_head.weight",
}
_LLAMA_TO_BLOCK: Final = {llama: llada for llada, llama in _BLOCK_NAMES.items()}
_LLAMA_TO_OUTER: Final = {llama: llada for llada, llama in _OUTER_NAMES.items()}
_LLADA_BLOCK: Final = re.compile(r"model\.transformer\.blocks\.(\d+)\.(\w+)\.weight")
_LLAMA_BLOCK: Final = re.compile(r"model\.layers\.(\d+)\.([\w.]+)\.weight")


def llama_config(llada: Mapping[str, Any], where: str) -> LlamaConfig:
    """Read LLaDA's config.json as a bidirectional LlamaConfig with `mask_token_id`.

    Raises:
        InvalidRunError: a key is missing or asks for something Llama's block has not.

    """
    for key, value in _NEEDED.items():
        if _required(llada, key, where) != value:
            _refuse(key, llada[key], value, where)
    for key, value in _UNSUPPORTED.items():
        if llada.get(key) not in (None, value):
            _refuse(key, llada[key], value, where)
    width, heads = int(_required(llada, "d_model", where)), int(_required(llada, "n_heads", where))
    grouped = llada.get("n_kv_heads") or (1 if llada.get("multi_query_attention") else heads)
    rows = llada.get("embedding_size") or _required(llada, "vocab_size", where)
    config = LlamaConfig(
        vocab_size=int(rows),
        hidden_size=width,
        intermediate_size=int(llada.get("mlp_hidden_size") or llada.get("mlp_ratio", 4) * width),
        num_hidden_layers=int(_required(llada, "n_layers", where)),
        num_attention_heads=heads,
        num_key_value_heads=int(grouped),
        max_position_embeddings=int(_required(llada, "max_sequence_length", where)),
        rms_norm_eps=float(llada.get("rms_norm_eps", 1e-5)),
        rope_parameters={"rope_type": "default", "rope_theta": float(_required(llada, "rope_theta", where))},
        tie_word_embeddings=bool(_required(llada, "weight_tying", where)),
        bos_token_id=llada.get("bos_token_id"),
        eos_token_id=_required(llada, "eos_token_id", where),
        pad_token_id=llada.get("pad_token_id"),
        use_cache=False,
    )
    config.mask_token_id = _required(llada, "mask_token_id", where)
    config.is_causal = False
    return config


def llada_config(config: LlamaConfig) -> dict[str, Any]:
    """Write a bidirectional LlamaConfig with the keys of LLaDA's config.json.

    Raises:
        InvalidRunError: the config has biases, another activation or scaled RoPE, which LLaDA has not.

    """
    rope = cast("Mapping[str, Any]", config.rope_parameters)
    for key, found, limit in (
        ("attention_bias", config.attention_bias, False),
        ("mlp_bias", config.mlp_bias, False),
        ("hidden_act", config.hidden_act, "silu"),
        ("rope_type", rope["rope_type"], "default"),
        ("head_dim", config.head_dim, config.hidden_size // config.num_attention_heads),
        ("logit_shift", getattr(config, "logit_shift", False), False),
    ):
        if found != limit:
            raise InvalidRunError(f"{key} is {found!r}; LLaDA's format has only {limit!r}: save in the Llama format")
    return {
        "architectures": ["LLaDAModelLM"],
        "model_type": "llada",
        **_NEEDED,
        **_UNSUPPORTED,
        "d_model": config.hidden_size,
        "n_layers": config.num_hidden_layers,
        "n_heads": config.num_attention_heads,
        "n_kv_heads": config.num_key_value_heads,
        "mlp_hidden_size": config.intermediate_size,
        "vocab_size": config.vocab_size,
        "embedding_size": config.vocab_size,
        "max_sequence_length": config.max_position_embeddings,
        "rms_norm_eps": config.rms_norm_eps,
        "rope_theta": rope["rope_theta"],
        "weight_tying": config.tie_word_embeddings,
        "bos_token_id": config.bos_token_id,
        "eos_token_id": config.eos_token_id,
        "pad_token_id": config.pad_token_id,
        "mask_token_id": config.mask_token_id,
        "attention_dropout": 0.0,
        "embedding_dropout": 0.0,
        "residual_dropout": 0.0,
        "flash_attention": False,
        "init_device": "meta",
        "use_cache": False,
    }


def llama_name(name: str) -> str | None:
    """Llama's name of a LLaDA weight; None if LLaDA has no such weight."""
    if match := _LLADA_BLOCK.fullmatch(name):
        inner = _BLOCK_NAMES.get(match[2])
        return inner and f"model.layers.{match[1]}.{inner}.weight"
    return _OUTER_NAMES.get(name)


def llada_name(name: str) -> str:
    """LLaDA's name of a Llama weight.

    Raises:
        KeyError: no such weight in LLaDA.

    """
    if match := _LLAMA_BLOCK.fullmatch(name):
        return f"model.transformer.blocks.{match[1]}.{_LLAMA_TO_BLOCK[match[2]]}.weight"
    return _LLAMA_TO_OUTER[name]


def _required(llada: Mapping[str, Any], key: str, where: str) -> Any:  # noqa: ANN401 - a JSON value
    if llada.get(key) is None:
        raise InvalidRunError(
            f"{where}: config.json of model_type llada lacks {key!r}; only LLaDA-8B's kind is supported"
        )
    return llada[key]


def _refuse(key: str, found: object, limit: object, where: str) -> None:
    raise InvalidRunError(
        f"{where}: {key} is {found!r} in config.json, but only {limit!r} is supported; use a model of LLaDA-8B's kind"
    )
