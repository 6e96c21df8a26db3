"""A network around stored tensors, each checked and cast as it is read."""

from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from accelerate.big_modeling import init_empty_weights
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from igpo_trainer.spec.errors import InvalidRunError


def assemble(
    config: LlamaConfig,
    tensors: Iterable[tuple[str, Tensor, Path]],
    rename: Callable[[str], str | None],
    stored: torch.dtype,
    where: Path,
) -> LlamaForCausalLM:
    """Build the network; `tensors` are (stored name, tensor, file), `rename` gives the name here, None for unknown.

    Raises:
        InvalidRunError: a tensor is unknown, missing or of another shape than the config says.

    """
    with init_empty_weights():
        lm = LlamaForCausalLM(config)
    tied = {"lm_head.weight"} if config.tie_word_embeddings else set()
    shapes = {name: tuple(weight.shape) for name, weight in lm.named_parameters()}
    state: dict[str, Tensor] = {}
    for stored_name, tensor, file in tensors:
        name = rename(stored_name)
        if name in tied or stored_name.endswith("rotary_emb.inv_freq"):
            continue
        if name is None or name not in shapes:
            raise InvalidRunError(
                f"{file} holds {stored_name}, which config.json has no place for; they do not belong together"
            )
        if tuple(tensor.shape) != shapes[name]:
            _refuse_shape(name, tuple(tensor.shape), shapes[name], file)
        state[name] = tensor.to(stored)
    missing = sorted(shapes.keys() - state.keys() - tied)
    if missing:
        raise InvalidRunError(
            f"{where}: {len(missing)} of {len(shapes)} weights are missing, the first is {missing[0]}; "
            "copy or download the model again"
        )
    lm.load_state_dict(state, strict=False, assign=True)
    lm.tie_weights()
    return lm


def _refuse_shape(name: str, found: tuple[int, ...], expected: tuple[int, ...], file: Path) -> None:
    if name in ("model.embed_tokens.weight", "lm_head.weight") and found[1:] == expected[1:]:
        raise InvalidRunError(
            f"{file}: {name} has {found[0]} rows but config.json says a vocabulary of {expected[0]}; "
            "use the config and tokenizer that belong to these weights"
        )
    raise InvalidRunError(
        f"{file}: {name} has shape {list(found)} but config.json says {list(expected)}; correct config.json"
    )
