"""A tokenizer for real text without a download: byte-level BPE, trained on the very traces that are audited."""

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

VOCABULARY = 8192
END = "<|end|>"


def trained(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Train on `texts`. Numbers may become tokens of several digits, so that chunk edges do cut them."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END)


def loaded(folder: Path) -> PreTrainedTokenizerBase:
    """Read the tokenizer of a model folder, or of a .gguf file."""
    if folder.suffix == ".gguf":
        tokenizer = AutoTokenizer.from_pretrained(folder.parent, gguf_file=folder.name)
    else:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    assert isinstance(tokenizer, PreTrainedTokenizerBase)
    return tokenizer
