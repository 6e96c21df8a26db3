from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from igpo_trainer.data.encode import EncodingReport, check_lengths, encode, encode_all
from igpo_trainer.data.problem import Problem, problem_key
from igpo_trainer.data.word_problems import generate
from igpo_trainer.spec.dataset import DatasetSpec, PromptSpec, WordProblems
from igpo_trainer.spec.errors import InvalidDataError, InvalidRunError

# As LLaDA's: the assistant's turn is opened always, whether asked to or not.
LLADA_TEMPLATE = (
    "{% for message in messages %}{% if loop.first %}{{ bos_token }}{% endif %}"
    "<|start_header_id|>{{ message['role'] }}<|end_header_id|>\n\n{{ message['content'] | trim }}<|eot_id|>{% endfor %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}"
)
# As most others': only when asked to, and without a system role.
POLITE_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "<|start_header_id|>{{ message['role'] }}<|end_header_id|>{{ message['content'] }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>{% endif %}"
)
MARKS = ["<|startoftext|>", "<|endoftext|>", "<|mdm_mask|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
PLAIN = PromptSpec(template="Plain")


def problem(prompt="How many apples are 3 + 4 apples?", trace=r"3 + 4 = 7 \boxed{7}", answer="7"):
    return Problem(problem_key(prompt, answer), prompt, trace, answer)


@pytest.fixture(scope="module")
def bpe():
    """A byte-level BPE as LLaDA's, trained on a few sentences; like LLaDA's it does not declare its mask token."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    text = ["How many apples are 3 + 4 apples? user assistant system", r"3 + 4 = 7 \boxed{7} euro é € 日本"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core.train_from_iterator(text * 4, trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet))
    core.add_special_tokens([AddedToken(mark, special=True) for mark in MARKS])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token=MARKS[0], eos_token=MARKS[1], pad_token=MARKS[1]
    )
    tokenizer.chat_template = LLADA_TEMPLATE
    return tokenizer


@pytest.fixture
def polite(bpe):
    bpe.chat_template = POLITE_TEMPLATE
    yield bpe
    bpe.chat_template = LLADA_TEMPLATE


@pytest.fixture(scope="module")
def words():
    """The tokenizer that ships for scratch models."""
    return AutoTokenizer.from_pretrained(str(files("igpo_trainer.models") / "word_tokenizer"))


@pytest.mark.parametrize("system", ["", "Think."])
def test_the_prompt_ends_with_one_open_assistant_turn(bpe, system):
    encoded = encode(problem(), bpe, PromptSpec(system=system, instruction="Box the answer."))
    first = f"<|start_header_id|>system<|end_header_id|>\n\n{system}<|eot_id|>" if system else ""
    assert bpe.decode(encoded.prompt_ids) == (
        f"<|startoftext|>{first}<|start_header_id|>user<|end_header_id|>\n\nHow many apples are 3 + 4 apples?\n"
        "Box the answer.<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
    )


def test_a_template_that_waits_to_be_asked_is_asked(polite):
    text = polite.decode(encode(problem(), polite, PromptSpec()).prompt_ids)
    assert text.endswith("<|eot_id|><|start_header_id|>assistant<|end_header_id|>")
    assert text.count("<|startoftext|>") == 1


def test_a_template_that_refuses_says_why(polite):
    with pytest.raises(InvalidRunError, match=r"no system role.*Plain"):
        encode(problem(), polite, PromptSpec(system="Think."))


def test_plain_is_the_text_alone(bpe):
    encoded = encode(problem(), bpe, PromptSpec(template="Plain", system="S", instruction="I"))
    assert bpe.decode(encoded.prompt_ids) == "S\nHow many apples are 3 + 4 apples?\nI"


def test_without_a_chat_template_the_remedy_is_named(words):
    template, words.chat_template = words.chat_template, None
    try:
        with pytest.raises(InvalidRunError, match=r"no chat template; set prompt\.template: Plain"):
            encode(problem(), words, PromptSpec())
    finally:
        words.chat_template = template


@given(trace=st.text(st.characters(codec="utf-8", exclude_characters="<|>"), min_size=1, max_size=60))
def test_the_trace_is_its_own_text_and_every_token_knows_its_characters(bpe, trace):
    encoded = encode(problem(trace=trace), bpe, PLAIN)
    assert bpe.decode(encoded.trace_ids, clean_up_tokenization_spaces=False) == trace
    assert not set(encoded.trace_ids) & set(bpe.convert_tokens_to_ids(MARKS))
    assert len(encoded.trace_spans) == len(encoded.trace_ids)
    covered = {index for first, last in encoded.trace_spans for index in range(first, last)}
    assert {index for index, character in enumerate(trace) if not character.isspace()} <= covered
    starts = [first for first, _ in encoded.trace_spans]
    assert starts == sorted(starts)


def test_spans_cut_the_words_out_of_a_trace(words):
    row = next(iter(generate(WordProblems(rows=1), split="train", rows=1, seed=0)))
    encoded = encode(row, words, PromptSpec())
    assert " ".join(row.trace[a:b] for a, b in encoded.trace_spans) == row.trace
    assert words.unk_token_id not in encoded.trace_ids + encoded.prompt_ids
    assert encoded.trace_ids[-1] != words.eos_token_id


@pytest.mark.parametrize("where", ["prompt", "trace"])
def test_a_special_token_in_a_row_is_refused(bpe, where):
    bad = problem(**{where: "fill <|mdm_mask|> in"})
    with pytest.raises(InvalidDataError, match=r"key [0-9a-f]{16}.*'<\|mdm_mask\|>'"):
        encode(bad, bpe, PLAIN)


PROBLEMS = [problem(prompt="apples " * n, trace="7 " * n, answer=str(n)) for n in range(1, 11)]


def dataset(**fields):
    return DatasetSpec.model_validate({"source": "rows.jsonl", **fields})


def tokens_of(bpe, n):
    return len(encode(PROBLEMS[n - 1], bpe, PLAIN).prompt_ids)


def test_encoding_keeps_order_and_counts_what_it_drops(bpe):
    limit = tokens_of(bpe, 6)
    kept, report = encode_all(PROBLEMS, bpe, PLAIN, dataset(maxPromptTokens=limit), completion_length=1000)
    assert kept == [encode(p, bpe, PLAIN) for p in PROBLEMS[:6]]
    longest_trace = len(encode(PROBLEMS[5], bpe, PLAIN).trace_ids)
    assert report == EncodingReport(6, 4, 0, limit, longest_trace)


def test_an_overlong_prompt_can_end_the_run(bpe):
    limit = tokens_of(bpe, 6)
    spec = dataset(maxPromptTokens=limit, overlong="Fail")
    with pytest.raises(InvalidDataError) as error:
        encode_all(PROBLEMS, bpe, PLAIN, spec, completion_length=1000)
    assert f"(key {PROBLEMS[6].key}, " in str(error.value)
    assert f"of {tokens_of(bpe, 7)} tokens" in str(error.value)
    assert f"maxPromptTokens is {limit} (4 of 10" in str(error.value)
    assert "\n" not in str(error.value)


def test_no_problem_left_is_an_error(bpe):
    with pytest.raises(InvalidDataError, match="none of 10 problems"):
        encode_all(PROBLEMS, bpe, PLAIN, dataset(maxPromptTokens=1), completion_length=1000)
    with pytest.raises(InvalidDataError, match="none of 0 problems"):
        encode_all([], bpe, PLAIN, dataset(), completion_length=1000)


def test_half_of_the_traces_may_exceed_the_canvas_and_are_counted(bpe):
    canvas = len(encode(PROBLEMS[4], bpe, PLAIN).trace_ids)
    _, report = encode_all(PROBLEMS, bpe, PLAIN, dataset(), completion_length=canvas)
    assert report.truncated_traces == 5


def test_more_than_half_of_the_traces_beyond_the_canvas_end_an_rl_run_but_not_sft(bpe):
    canvas = len(encode(PROBLEMS[3], bpe, PLAIN).trace_ids)
    with pytest.raises(InvalidDataError, match=rf"6 of 10 traces are longer than the canvas of {canvas} tokens"):
        encode_all(PROBLEMS, bpe, PLAIN, dataset(), completion_length=canvas)
    _, report = encode_all(PROBLEMS, bpe, PLAIN, dataset(), completion_length=canvas, long_traces="Count")
    assert report.truncated_traces == 6


def test_prompt_and_canvas_must_fit_the_model(bpe):
    check_lengths(600, 256, 856)
    with pytest.raises(InvalidRunError, match=r"600 \+ canvas 256 = 856 tokens, beyond.* 855"):
        encode_all(PROBLEMS, bpe, PLAIN, dataset(), completion_length=256, model_limit=855)


def test_text_that_the_tokenizer_does_not_know_is_refused(words):
    foreign = [problem(prompt="Wie viele Pferde stehen im Stall?", trace="drei", answer=str(n)) for n in range(3)]
    with pytest.raises(InvalidDataError, match="3 of 3 problems have words that the tokenizer does not know"):
        encode_all(foreign, words, PromptSpec(), dataset(), completion_length=32)
