"""From problems to token ids, and the length checks that come before any work."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from jinja2.exceptions import TemplateError

from igpo_trainer.data.problem import EncodedProblem, Problem
from igpo_trainer.spec.dataset import DatasetSpec, PromptSpec
from igpo_trainer.spec.errors import InvalidDataError, InvalidRunError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_BATCH = 1024


@dataclass(frozen=True, slots=True)
class EncodingReport:
    """What encoding a data set left out or cannot use whole; all in problems."""

    problems: int
    """Encoded and kept."""
    dropped_overlong: int
    """Left out: prompt beyond maxPromptTokens."""
    truncated_traces: int
    """Trace longer than the canvas: only its first L tokens can be hints."""
    longest_prompt: int
    """Tokens of the longest prompt that was kept."""
    longest_trace: int
    """Tokens of the longest trace that was kept."""


def check_lengths(max_prompt_tokens: int, completion_length: int, model_limit: int) -> None:
    """Raise InvalidRunError if the longest prompt and the canvas together exceed the model's positions."""
    if max_prompt_tokens + completion_length > model_limit:
        raise InvalidRunError(
            f"dataset.maxPromptTokens {max_prompt_tokens} + canvas {completion_length} = "
            f"{max_prompt_tokens + completion_length} tokens, beyond the model's limit of {model_limit}; lower one"
        )


def encode(problem: Problem, tokenizer: "PreTrainedTokenizerBase", prompt: PromptSpec) -> EncodedProblem:
    """Return one problem in tokens; see encode_all.

    Raises:
        InvalidRunError: the tokenizer has no offsets, or no chat template for template: Model.
        InvalidDataError: the text holds a special token.

    """
    return _encode_batch([problem], tokenizer, prompt, _special_tokens(tokenizer))[0]


def encode_all(
    problems: Sequence[Problem],
    tokenizer: "PreTrainedTokenizerBase",
    prompt: PromptSpec,
    dataset: DatasetSpec,
    *,
    completion_length: int,
    model_limit: int | None = None,
    long_traces: Literal["Refuse", "Count"] = "Refuse",
) -> tuple[list[EncodedProblem], EncodingReport]:
    """Encode a data set, in order.

    `completion_length` is the canvas length L in tokens, `model_limit` the model's largest number of positions.
    `long_traces` Refuse is for RL, where more than half of the traces beyond the canvas is an error; Count is for
    SFT, which has its own rule for them, and for problems that are only measured.

    Raises:
        InvalidRunError: maxPromptTokens and canvas exceed the model's limit, or the tokenizer does not serve.
        InvalidDataError: an overlong prompt under overlong: Fail, most traces longer than the canvas, most traces
            with words unknown to the tokenizer, a special token in the text, or no problem left.

    """
    if model_limit is not None:
        check_lengths(dataset.max_prompt_tokens, completion_length, model_limit)
    special = _special_tokens(tokenizer)
    encoded: list[EncodedProblem] = []
    for first in range(0, len(problems), _BATCH):
        encoded += _encode_batch(problems[first : first + _BATCH], tokenizer, prompt, special)
    kept = [e for e in encoded if len(e.prompt_ids) <= dataset.max_prompt_tokens]
    if len(kept) < len(encoded) and dataset.overlong == "Fail":
        _refuse_overlong(encoded, dataset)
    if not kept:
        raise InvalidDataError(
            f"{dataset.source}: none of {len(encoded)} problems is left within maxPromptTokens "
            f"{dataset.max_prompt_tokens}; raise dataset.maxPromptTokens or shorten prompt.instruction"
        )
    _refuse_unknown_words(kept, tokenizer, dataset.source)
    truncated = sum(len(e.trace_ids) > completion_length for e in kept)
    longest_trace = max(len(e.trace_ids) for e in kept)
    if long_traces == "Refuse" and 2 * truncated > len(kept):
        raise InvalidDataError(
            f"{dataset.source}: {truncated} of {len(kept)} traces are longer than the canvas of {completion_length} "
            f"tokens (longest {longest_trace}), so most cannot be whole hints; raise sampling.completionLength, "
            "or shorten the traces first with a LengthAlignedSFT that rewrites them"
        )
    longest_prompt = max(len(e.prompt_ids) for e in kept)
    return kept, EncodingReport(len(kept), len(encoded) - len(kept), truncated, longest_prompt, longest_trace)


def _refuse_overlong(encoded: Sequence[EncodedProblem], dataset: DatasetSpec) -> None:
    worst = next(e for e in encoded if len(e.prompt_ids) > dataset.max_prompt_tokens)
    total = sum(len(e.prompt_ids) > dataset.max_prompt_tokens for e in encoded)
    raise InvalidDataError(
        f"{_place(worst.problem)} has a prompt of {len(worst.prompt_ids)} tokens, "
        f"dataset.maxPromptTokens is {dataset.max_prompt_tokens} ({total} of {len(encoded)} are longer); "
        "raise it, or set dataset.overlong: Drop"
    )


def _refuse_unknown_words(encoded: Sequence[EncodedProblem], tokenizer: "PreTrainedTokenizerBase", source: str) -> None:
    unknown_id: Any = tokenizer.unk_token_id
    if unknown_id is None:
        return
    unknown = sum(unknown_id in e.trace_ids or unknown_id in e.prompt_ids for e in encoded)
    if 2 * unknown > len(encoded):
        raise InvalidDataError(
            f"{source}: {unknown} of {len(encoded)} problems have words that the tokenizer does not know; "
            "use a model whose tokenizer covers this text, or a data set in its vocabulary"
        )


def _special_tokens(tokenizer: "PreTrainedTokenizerBase") -> tuple[str, ...]:
    """Text of the tokens that mean something to the model. Raises InvalidRunError if there are no offsets."""
    if not tokenizer.is_fast:
        raise InvalidRunError(
            f"tokenizer {type(tokenizer).__name__} gives no character offsets; use a model that ships a tokenizer.json"
        )
    added = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    return tuple(sorted(added | set(tokenizer.all_special_tokens)))


def _encode_batch(
    problems: Sequence[Problem], tokenizer: "PreTrainedTokenizerBase", prompt: PromptSpec, special: Sequence[str]
) -> list[EncodedProblem]:
    if not problems:
        return []
    for problem in problems:
        for token in special:
            if token in problem.prompt or token in problem.trace:
                raise InvalidDataError(
                    f"{_place(problem)} holds the special token {token!r}, which would steer the model; "
                    "remove it from the row"
                )
    texts = [prompt_text(problem, tokenizer, prompt) for problem in problems]
    # The template has written the special tokens that the model wants; the tokenizer must not add more.
    prompts: Any = tokenizer(texts, add_special_tokens=False)
    traces: Any = tokenizer([p.trace for p in problems], add_special_tokens=False, return_offsets_mapping=True)
    rows = zip(problems, prompts["input_ids"], traces["input_ids"], traces["offset_mapping"], strict=True)
    return [
        EncodedProblem(problem, tuple(prompt_ids), tuple(trace_ids), tuple((a, b) for a, b in spans))
        for problem, prompt_ids, trace_ids, spans in rows
    ]


def prompt_text(problem: Problem, tokenizer: "PreTrainedTokenizerBase", prompt: PromptSpec) -> str:
    """Return all that stands before the canvas, as text: instruction added, template applied, the answer's turn opened.

    LLaDA's template opens the assistant's turn always, others when asked to; either way the text ends where the
    canvas begins. The trace never goes through the template: it would be closed by a second, empty turn.
    """
    content = "\n".join(part for part in (problem.prompt, prompt.instruction) if part)
    if prompt.template == "Plain":
        return "\n".join(part for part in (prompt.system, content) if part)
    if not tokenizer.chat_template:
        raise InvalidRunError(
            "prompt.template is Model, but the model's tokenizer has no chat template; set prompt.template: Plain"
        )
    messages = [{"role": "system", "content": prompt.system}] if prompt.system else []
    messages.append({"role": "user", "content": content})
    try:
        text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    except TemplateError as error:
        raise InvalidRunError(
            f"the model's chat template refuses the prompt ({error}); change prompt.system or set "
            "prompt.template: Plain"
        ) from error
    return str(text)


def _place(problem: Problem) -> str:
    """Where a problem is: file and row, its key and its first words."""
    return f"{problem.origin or 'a problem'} (key {problem.key}, {problem.prompt[:40]!r})"
