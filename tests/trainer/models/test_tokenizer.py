"""Prompts of public model families, as text, from folders with the files that their repositories have."""

import json

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from igpo_trainer.data.encode import encode, prompt_text
from igpo_trainer.data.problem import Problem
from igpo_trainer.models.tokenizer import read_tokenizer
from igpo_trainer.spec.dataset import PromptSpec
from igpo_trainer.spec.errors import InvalidRunError

ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())
WORDS = {token: number for number, token in enumerate([*ALPHABET, "th", "the", "Ġthe"])}
MERGES = [("t", "h"), ("th", "e"), ("Ġ", "the")]
PROBLEM = Problem("key", " What is 3 + 4? ", "3 + 4 = 7", "7")
PROMPT = PromptSpec(instruction="Box the answer.")

LLADA_TOKENS = [
    "<|startoftext|>",
    "<|endoftext|>",
    "<|mdm_mask|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
]
LLADA_TEMPLATE = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}"
    "{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'"
    " + message['content'] | trim + '<|eot_id|>' %}"
    "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}"
)
"""As LLaDA-8B-Instruct has it: the assistant's turn is opened whether asked to or not."""

DREAM_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|beginoftext|>", "<|mask|>"]
DREAM_TEMPLATE = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""As Dream-7B-Instruct has it from Qwen2: with a system message of its own."""


def write(folder, name, content):
    (folder / name).write_text(json.dumps(content))


@pytest.fixture
def llada(tmp_path):
    """LLaDA's files: tokenizer.json, a mask that is an added token like others, the template in the config."""
    core = Tokenizer(models.BPE(WORDS, MERGES))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in LLADA_TOKENS])
    core.save(str(tmp_path / "tokenizer.json"))
    config = {
        "add_bos_token": False,
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
        "chat_template": LLADA_TEMPLATE,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    write(tmp_path, "tokenizer_config.json", config)
    return tmp_path


@pytest.fixture
def dream(tmp_path):
    """Dream's files: vocab.json, merges.txt, and a class that is code in the repository."""
    write(tmp_path, "vocab.json", WORDS)
    (tmp_path / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in MERGES))
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    added = {str(len(WORDS) + number): {"content": token, **flags} for number, token in enumerate(DREAM_TOKENS)}
    config = {
        "add_bos_token": False,
        "add_prefix_space": False,
        "added_tokens_decoder": added,
        "auto_map": {"AutoTokenizer": ["tokenization_dream.DreamTokenizer", None]},
        "bos_token": "<|beginoftext|>",
        "eos_token": "<|endoftext|>",
        "mask_token": "<|mask|>",
        "pad_token": "<|endoftext|>",
        "unk_token": None,
        "chat_template": DREAM_TEMPLATE,
        "tokenizer_class": "DreamTokenizer",
    }
    write(tmp_path, "tokenizer_config.json", config)
    (tmp_path / "tokenization_dream.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    return tmp_path


def test_lladas_prompt_opens_the_assistants_turn_once(llada):
    tokenizer = read_tokenizer(llada)
    assert prompt_text(PROBLEM, tokenizer, PROMPT) == (
        "<|startoftext|><|start_header_id|>user<|end_header_id|>\n\nWhat is 3 + 4? \nBox the answer.<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )
    assert prompt_text(PROBLEM, tokenizer, PromptSpec(system="Think.")) == (
        "<|startoftext|><|start_header_id|>system<|end_header_id|>\n\nThink.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nWhat is 3 + 4?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )
    assert tokenizer.mask_token is None


def test_a_template_in_a_file_of_its_own_is_read_too(llada):
    config = json.loads((llada / "tokenizer_config.json").read_text())
    (llada / "chat_template.jinja").write_text(config.pop("chat_template"))
    write(llada, "tokenizer_config.json", config)
    assert read_tokenizer(llada).chat_template == LLADA_TEMPLATE


def test_dreams_prompt_has_its_own_system_message_unless_another_is_given(dream):
    tokenizer = read_tokenizer(dream)
    assert prompt_text(PROBLEM, tokenizer, PROMPT) == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\n What is 3 + 4? \nBox the answer.<|im_end|>\n<|im_start|>assistant\n"
    )
    assert prompt_text(PROBLEM, tokenizer, PromptSpec(system="Think.")) == (
        "<|im_start|>system\nThink.<|im_end|>\n<|im_start|>user\n What is 3 + 4? <|im_end|>\n<|im_start|>assistant\n"
    )
    assert tokenizer.mask_token == "<|mask|>"
    assert not (dream / "ran").exists()


@pytest.mark.parametrize(("family", "special"), [("llada", LLADA_TOKENS), ("dream", DREAM_TOKENS)])
def test_the_prompt_in_tokens_is_that_text_and_every_mark_one_token(request, family, special):
    tokenizer = read_tokenizer(request.getfixturevalue(family))
    encoded = encode(PROBLEM, tokenizer, PROMPT)
    text = prompt_text(PROBLEM, tokenizer, PROMPT)
    assert tokenizer.decode(encoded.prompt_ids) == text
    for token in special:
        assert encoded.prompt_ids.count(tokenizer.convert_tokens_to_ids(token)) == text.count(token)
    assert tokenizer.decode(encoded.trace_ids) == "3 + 4 = 7"


def test_dreams_digits_and_words_are_cut_as_qwen2_cuts_them(dream):
    tokenizer = read_tokenizer(dream)
    ids = tokenizer("the the123", add_special_tokens=False)["input_ids"]
    assert tokenizer.convert_ids_to_tokens(ids) == ["the", "Ġthe", "1", "2", "3"]


def test_a_tokenizer_that_only_code_could_read_is_refused(dream):
    config = json.loads((dream / "tokenizer_config.json").read_text())
    write(dream, "tokenizer_config.json", config | {"tokenizer_class": "SomeTokenizer"})
    with pytest.raises(InvalidRunError, match=r"tokenizer\.json is missing; save the tokenizer in its fast format"):
        read_tokenizer(dream)
    assert not (dream / "ran").exists()


def test_a_damaged_vocabulary_is_named_in_one_line(dream):
    (dream / "vocab.json").write_text("{")
    with pytest.raises(InvalidRunError, match=r"vocab\.json cannot be read .*; copy or download it again") as got:
        read_tokenizer(dream)
    assert "\n" not in str(got.value)
