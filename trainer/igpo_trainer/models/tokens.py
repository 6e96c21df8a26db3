"""The token ids a masked diffusion model treats specially."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from igpo_trainer.spec.errors import InvalidRunError


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    """Ids of the mask, end and padding tokens, and the ids that are never emitted.

    `banned_ids` are the mask and every row of the vocabulary that no token stands for (padding vocabulary), ascending.
    Their logits are -inf in the sampler and in log-probabilities alike.
    """

    mask_id: int
    eos_id: int
    pad_id: int
    banned_ids: tuple[int, ...]

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig, *, where: str = "the model") -> Self:
        """Read the ids from a tokenizer and a config, which must agree.

        The mask comes from `config.mask_token_id` (LLaDA's tokenizer names none) or the tokenizer's mask token; the end
        token from the tokenizer; padding falls back to the end token.

        Raises:
            InvalidRunError: no mask or end token, ids that disagree, or a tokenizer larger than the vocabulary.

        """
        rows = int(config.vocab_size)
        known = set(tokenizer.get_vocab().values())
        if max(known) >= rows:
            raise InvalidRunError(
                f"{where}: the tokenizer has token ids up to {max(known)} but the vocabulary has {rows} rows; "
                "use the tokenizer that belongs to these weights"
            )
        mask_id = _agreed("mask", tokenizer.mask_token_id, _ids(getattr(config, "mask_token_id", None)), where)
        eos_id = _agreed("eos", tokenizer.eos_token_id, _ids(config.eos_token_id), where)
        pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else eos_id
        if mask_id not in known:
            raise InvalidRunError(
                f"{where}: mask_token_id {mask_id} is no token of the tokenizer ({len(known)} tokens); "
                "correct mask_token_id in config.json or use the tokenizer that belongs to these weights"
            )
        if mask_id in (eos_id, pad_id):
            raise InvalidRunError(
                f"{where}: the mask token {mask_id} is also the end token ({eos_id}) or padding ({pad_id}); "
                "correct the special tokens of the tokenizer"
            )
        banned = sorted({mask_id} | (set(range(rows)) - known))
        return cls(mask_id=mask_id, eos_id=eos_id, pad_id=int(pad_id), banned_ids=tuple(banned))


def _ids(value: int | Iterable[int] | None) -> tuple[int, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, int) else tuple(value)


def _agreed(name: str, of_tokenizer: int | None, of_config: tuple[int, ...], where: str) -> int:
    if of_tokenizer is None and not of_config:
        remedy = (
            "name its mask by mask_token_id in config.json or mask_token in tokenizer_config.json"
            if name == "mask"
            else "set eos_token in tokenizer_config.json"
        )
        raise InvalidRunError(f"{where}: neither the tokenizer nor config.json names a {name} token; {remedy}")
    if of_tokenizer is None:
        return of_config[0]
    if of_config and of_tokenizer not in of_config:
        raise InvalidRunError(
            f"{where}: {name}_token_id is {', '.join(map(str, of_config))} in config.json but {of_tokenizer} in the "
            "tokenizer; make them agree"
        )
    return int(of_tokenizer)
