"""A model's tokenizer and chat template from its data files; code that lies beside them is never run."""

from pathlib import Path
from typing import Final

from transformers import PreTrainedTokenizerFast, Qwen2Tokenizer

from igpo_trainer.models.weights import read_json
from igpo_trainer.spec.errors import InvalidRunError

_QWEN2_LIKE: Final = ("Qwen2Tokenizer", "Qwen2TokenizerFast", "DreamTokenizer")
"""Classes whose vocab.json and merges.txt are cut as Qwen2's are: Dream ships no tokenizer.json, but its own code."""


def read_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """Read tokenizer.json, or build the tokenizer from vocab.json and merges.txt where it is of Qwen2's kind.

    Special tokens and chat template come from tokenizer_config.json (or chat_template.jinja), whatever class that
    names.

    Raises:
        InvalidRunError: files are missing or damaged, or of a kind that only code could read.

    """
    if (folder / "tokenizer.json").is_file():
        kind, name = PreTrainedTokenizerFast, "tokenizer.json"
    elif _is_qwen2_like(folder):
        kind, name = Qwen2Tokenizer, "vocab.json"
    else:
        raise InvalidRunError(
            f"{folder / 'tokenizer.json'} is missing; save the tokenizer in its fast format beside the weights"
        )
    try:
        # A class by name, not the one the files ask for, which may be code in the checkpoint.
        tokenizer = kind.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # tokenizers raises bare Exception on a damaged file
        reason = " ".join(str(error).split())
        raise InvalidRunError(f"{folder / name} cannot be read ({reason}); copy or download it again") from error
    assert isinstance(tokenizer, PreTrainedTokenizerFast)
    return tokenizer


def _is_qwen2_like(folder: Path) -> bool:
    files = [folder / name for name in ("vocab.json", "merges.txt", "tokenizer_config.json")]
    return all(path.is_file() for path in files) and read_json(files[-1]).get("tokenizer_class") in _QWEN2_LIKE
