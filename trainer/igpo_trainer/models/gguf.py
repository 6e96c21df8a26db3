"""Llama models in one GGUF file, as llama.cpp has them: read, de-quantised, and put in transformers' order."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import torch
from gguf import MODEL_ARCH, GGUFReader, dequantize, get_tensor_name_map
from tokenizers import Tokenizer
from torch import Tensor
from transformers import LlamaConfig, PreTrainedTokenizerFast

from igpo_trainer.spec.errors import InvalidRunError
from igpo_trainer.spec.model import GGUF_SUFFIX

_UNSCALED: Final = (None, "none")
_MODULES: Final = (
    *(f"self_attn.{name}_proj" for name in "qkvo"),
    *(f"mlp.{name}_proj" for name in ("gate", "up", "down")),
    "input_layernorm",
    "post_attention_layernorm",
)


def is_gguf(source: str) -> bool:
    """Whether a model source names a GGUF file; the file need not exist."""
    path = Path(source).expanduser()
    return path.suffix == GGUF_SUFFIX and not path.is_dir()


def open_gguf(path: Path) -> tuple[LlamaConfig, PreTrainedTokenizerFast, Iterator[tuple[str, Tensor, Path]]]:
    """Read config and tokenizer of a causal Llama; the weights come one at a time, fp32 and under transformers' names.

    Raises:
        InvalidRunError: no such file, no GGUF or a damaged one, or a model that LlamaForCausalLM does not compute.

    """
    if not path.is_file():
        raise InvalidRunError(f"model.source {str(path)!r}: no such file; correct the path")
    try:
        reader = GGUFReader(path)
    except (ValueError, IndexError, KeyError, OSError) as error:
        raise InvalidRunError(
            f"{path} is no readable GGUF file ({_one_line(error)}); copy or download it again"
        ) from error
    config = _config(reader, path)
    return config, _tokenizer(path, _tokens(reader)), _tensors(reader, config, path)


def _config(reader: GGUFReader, path: Path) -> LlamaConfig:
    """Build the config from the file's header, and refuse what would be computed wrongly."""
    architecture = _value(reader, "general.architecture")
    if architecture != "llama":
        raise InvalidRunError(f"{path}: architecture {architecture!r} is not supported; use a model of llama")
    scaling = _value(reader, "llama.rope.scaling.type")
    if scaling not in _UNSCALED or any(tensor.name.startswith("rope_") for tensor in reader.tensors):
        raise InvalidRunError(
            f"{path}: its rotary frequencies are scaled, which a GGUF file does not tell in full; use the safetensors "
            "model that it was made from"
        )
    if _value(reader, "llama.expert_count"):
        raise InvalidRunError(f"{path}: a mixture of experts is not supported; use a dense Llama")
    heads, width = _number(reader, "attention.head_count", path), _number(reader, "embedding_length", path)
    head_width = _number(reader, "attention.key_length", path, width // heads)
    rotated = _number(reader, "rope.dimension_count", path, head_width)
    if rotated != head_width:
        raise InvalidRunError(
            f"{path}: rotates {rotated} of {head_width} features a head; use a model that rotates all"
        )
    shapes = {tensor.name: tensor.shape.tolist() for tensor in reader.tensors}
    return LlamaConfig(
        vocab_size=shapes.get("token_embd.weight", [0, _tokens(reader)])[-1],  # may have rows without a token
        hidden_size=width,
        intermediate_size=_number(reader, "feed_forward_length", path),
        num_hidden_layers=_number(reader, "block_count", path),
        num_attention_heads=heads,
        num_key_value_heads=_number(reader, "attention.head_count_kv", path, heads),
        head_dim=head_width,
        max_position_embeddings=_number(reader, "context_length", path),
        rms_norm_eps=float(_value(reader, "llama.attention.layer_norm_rms_epsilon") or 1e-5),
        rope_parameters={
            "rope_type": "default",
            "rope_theta": float(_value(reader, "llama.rope.freq_base") or 10_000.0),
        },
        tie_word_embeddings="output.weight" not in shapes,
        use_cache=False,
        bos_token_id=_value(reader, "tokenizer.ggml.bos_token_id"),
        eos_token_id=_value(reader, "tokenizer.ggml.eos_token_id"),
        pad_token_id=_value(reader, "tokenizer.ggml.padding_token_id"),
    )


def _tensors(reader: GGUFReader, config: LlamaConfig, path: Path) -> Iterator[tuple[str, Tensor, Path]]:
    ours = _names(config)
    for stored in reader.tensors:
        name = ours.get(stored.name, stored.name)
        weights = torch.from_numpy(dequantize(stored.data, stored.tensor_type).copy())
        if name.endswith("q_proj.weight"):
            weights = _rotation_halves(weights, config.num_attention_heads)
        elif name.endswith("k_proj.weight"):
            weights = _rotation_halves(weights, config.num_key_value_heads or config.num_attention_heads)
        yield name, weights, path


def _names(config: LlamaConfig) -> dict[str, str]:
    """Map every weight's name in the file to transformers'."""
    modules = ["model.embed_tokens", "model.norm", "lm_head"]
    modules += [f"model.layers.{block}.{module}" for block in range(config.num_hidden_layers) for module in _MODULES]
    known = get_tensor_name_map(MODEL_ARCH.LLAMA, config.num_hidden_layers)
    return {f"{known.get_name(module)}.weight": f"{module}.weight" for module in modules}


def _rotation_halves(weight_OD: Tensor, heads: int) -> Tensor:
    """Undo llama.cpp's order of a head's rows: it keeps rotated pairs side by side, transformers in two halves."""
    pairs = weight_OD.reshape(heads, weight_OD.shape[0] // heads // 2, 2, -1)
    return pairs.transpose(1, 2).reshape(weight_OD.shape)


def _tokenizer(path: Path, tokens: int) -> PreTrainedTokenizerFast:
    """Build the tokenizer from the file alone: what lies beside it does not count."""
    with tempfile.TemporaryDirectory(prefix="igpo-gguf-") as folder:
        (Path(folder) / path.name).symlink_to(path.resolve())
        try:
            tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, gguf_file=path.name, trust_remote_code=False)
        except Exception as error:  # of transformers, tokenizers and gguf, without a common base
            raise InvalidRunError(
                f"{path}: its tokenizer cannot be read ({_one_line(error)}); use another file"
            ) from error
    assert isinstance(tokenizer, PreTrainedTokenizerFast)
    tokenizer = _without_strangers(tokenizer, tokens)
    tokenizer.name_or_path = path.name
    return tokenizer


def _without_strangers(tokenizer: PreTrainedTokenizerFast, tokens: int) -> PreTrainedTokenizerFast:
    """Drop tokens beyond the file's own: transformers gives every byte-level tokenizer an <|endoftext|>."""
    known = tokenizer.get_vocab()
    if max(known.values()) < tokens:
        return tokenizer
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    content["added_tokens"] = [token for token in content["added_tokens"] if token["id"] < tokens]
    special = {
        name: token for name, token in tokenizer.special_tokens_map.items() if known.get(str(token), tokens) < tokens
    }
    kept: PreTrainedTokenizerFast = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # of transformers
        tokenizer_object=Tokenizer.from_str(json.dumps(content)), chat_template=tokenizer.chat_template, **special
    )
    return kept


def _value(reader: GGUFReader, key: str) -> Any:  # noqa: ANN401 - a header field has its own type
    """Value of a header field; None when there is none."""
    field = reader.get_field(key)
    return None if field is None else field.contents()


def _tokens(reader: GGUFReader) -> int:
    """How many tokens the file's own tokenizer has."""
    return len(_value(reader, "tokenizer.ggml.tokens") or ())


def _number(reader: GGUFReader, key: str, path: Path, default: int | None = None) -> int:
    value = _value(reader, f"llama.{key}")
    value = default if value is None else value
    if not isinstance(value, int) or value < 1:
        raise InvalidRunError(f"{path}: its header says llama.{key} {value}, not one number above 0; use another file")
    return value


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
