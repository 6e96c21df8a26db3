r"""Well-known data sets: which columns their rows have, and where trace and answer stand in them.

The schemas are those of the sets' pages on the hub; a local copy in the same schema is read by naming the format.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from igpo_trainer.boxed import boxes, last_boxed
from igpo_trainer.data.columns import Parts, Row, UnusableRowError, UnwantedRowError, is_filled, one_of, text_of
from igpo_trainer.spec.dataset import RowFormat

NO_ANSWER: Final = "no answer"
NO_TRACE: Final = "no trace"
NOT_ANSWERS: Final = frozenset({"proof", "notfound"})
"""What OpenR1 has in place of an answer that does not exist."""
MOST_STEPS: Final = 8
"""GSM8K's problems take 2 to 8 steps (Cobbe et al., 2021, section 3)."""

_CALCULATOR_NOTE = re.compile(r"<<[^<>]*>>")
_MARKED_ANSWER = re.compile(r"\s*####[^\n]*\s*\Z")
_STATED_ANSWER = "The answer is:"
_FRAMED = re.compile(r"\\fbox\s*\{")
_BARE_BOX = re.compile(r"\\boxed\s*([^\s{$][^$]*?)\s*\$")
_THINK_TAG = re.compile(r"</?think>\s*")


@dataclass(frozen=True, slots=True)
class Format:
    """One schema."""

    read: Callable[[Row], Parts]
    """Raises UnusableRowError, UnwantedRowError or MissingColumnError."""
    has_traces: bool = True
    """False: the set has problems and answers only."""
    distinct: bool = False
    """True: several rows may have the same problem, of which the first usable one counts."""
    advice: str = ""
    """What to do when no row is wanted."""


@dataclass(frozen=True, slots=True)
class KnownSet:
    """A data set on the hub whose schema we know."""

    format: RowFormat
    name: str | None = None
    """The configuration to read when the manifest names none."""


def gsm8k(row: Row) -> Parts:
    """GSM8K: `question`, and `answer` with one step a line, calculator notes `<<2*3=6>>`, and `#### 6` at the end."""
    prompt, answered = text_of(row, "question"), text_of(row, "answer")
    body, mark, answer = answered.rpartition("####")
    if not mark or not answer.strip():
        raise UnusableRowError(NO_ANSWER)
    trace = _CALCULATOR_NOTE.sub("", body).strip()
    steps = sum(bool(line.strip()) for line in trace.splitlines())
    difficulty = f"{MOST_STEPS} or more steps" if steps >= MOST_STEPS else f"{steps} step{'s' * (steps != 1)}"
    return Parts(prompt, answer.strip(), trace, difficulty)


def math(row: Row) -> Parts:
    r"""MATH and MATH500: `problem`, `solution` with the answer in its last \boxed{}, `level`, in MATH500 `answer`.

    A few solutions have `\fbox{2}` or `\boxed 2$` for `\boxed{2}`; they are written the common way.
    """
    prompt = text_of(row, "problem")
    stated = text_of(row, "answer") if is_filled(row, "answer") else ""
    trace = "" if stated and not is_filled(row, "solution") else text_of(row, "solution")
    trace = _BARE_BOX.sub(r"\\boxed{\1}$", _FRAMED.sub(r"\\boxed{", trace))
    answer = stated or last_boxed(trace)
    if not answer:
        raise UnusableRowError(NO_ANSWER)
    level = text_of(row, "level") if is_filled(row, "level") else ""
    return Parts(prompt, answer, trace, f"Level {level}" if level.isdecimal() else level)


def meta_math_qa(row: Row) -> Parts:
    r"""MetaMathQA: `type`, `query`, and `response` that ends with `The answer is: 6`. Only the AnsAug types are read.

    They answer the original questions of GSM8K and MATH; the other types rewrite the question. The response may state
    its answer twice (`#### 6`, `\boxed{6}`): the mark goes, the box loses its frame, so that one statement is left.
    """
    kind = text_of(row, "type")
    if not kind.endswith("_AnsAug"):
        raise UnwantedRowError("not an AnsAug row")
    prompt, response = text_of(row, "query"), text_of(row, "response")
    body, mark, answer = response.rpartition(_STATED_ANSWER)
    answer = _without_dollars(answer)
    if not mark or not answer:
        raise UnusableRowError(NO_ANSWER)
    return Parts(prompt, answer, _unboxed(_MARKED_ANSWER.sub("", body)).strip(), kind.removesuffix("_AnsAug"))


def open_r1(row: Row) -> Parts:
    """OpenR1-Math-220k: `problem`, `answer`, and several `generations`, each with flags of how it was verified.

    The trace is the first generation that is complete and was verified by math-verify or by the judge model, without
    the tags around its thinking.
    """
    prompt = text_of(row, "problem")
    if not is_filled(row, "answer") or text_of(row, "answer").casefold() in NOT_ANSWERS:
        raise UnusableRowError(NO_ANSWER)
    generations = row.get("generations")
    if not isinstance(generations, list):
        text_of(row, "generations")
        raise UnusableRowError("'generations' is not a list")
    for index, generation in enumerate(generations):
        verified = _flag(row, "correctness_math_verify", index) or _flag(row, "correctness_llama", index)
        complete = _flag(row, "is_reasoning_complete", index) or "is_reasoning_complete" not in row
        if verified and complete and isinstance(generation, str) and generation.strip():
            trace = _THINK_TAG.sub("", generation).strip()
            return Parts(prompt, text_of(row, "answer"), trace)
    raise UnusableRowError("no generation that is complete and verified")


def amc(row: Row) -> Parts:
    """AMC: `question` or `problem`, and `answer`, a whole number that some copies store as 27.0."""
    prompt = text_of(row, one_of(row, "question", "problem"))
    answer = text_of(row, "answer")
    return Parts(prompt, answer.removesuffix(".0"))


def minerva(row: Row) -> Parts:
    r"""Minerva: `question` or `problem`, and `answer`, or a `solution` with the answer in its last \boxed{}."""
    prompt = text_of(row, one_of(row, "question", "problem"))
    trace = text_of(row, "solution") if is_filled(row, "solution") else ""
    answer = text_of(row, "answer") if is_filled(row, "answer") else last_boxed(trace)
    if not answer:
        raise UnusableRowError(NO_ANSWER)
    return Parts(prompt, answer, trace)


FORMATS: Final[Mapping[RowFormat, Format]] = {
    "GSM8K": Format(gsm8k),
    "MATH": Format(math),
    "MetaMathQA": Format(
        meta_math_qa,
        distinct=True,
        advice="give the whole set, or read other types by dataset.fields {prompt: query, trace: response} and "
        f"dataset.answer {{after: '{_STATED_ANSWER}'}}",
    ),
    "OpenR1": Format(open_r1),
    "AMC": Format(amc, has_traces=False),
    "Minerva": Format(minerva),
}

KNOWN_SETS: Final[Mapping[str, KnownSet]] = {
    "openai/gsm8k": KnownSet("GSM8K", "main"),
    "gsm8k": KnownSet("GSM8K", "main"),
    "hendrycks/competition_math": KnownSet("MATH"),
    "eleutherai/hendrycks_math": KnownSet("MATH"),
    "digitallearninggmbh/math-lighteval": KnownSet("MATH"),
    "huggingfaceh4/math-500": KnownSet("MATH"),
    "math-ai/math500": KnownSet("MATH"),
    "meta-math/metamathqa": KnownSet("MetaMathQA"),
    "open-r1/openr1-math-220k": KnownSet("OpenR1"),
    "math-ai/amc23": KnownSet("AMC"),
    "ai-mo/aimo-validation-amc": KnownSet("AMC"),
    "math-ai/minervamath": KnownSet("Minerva"),
    "svc-huggingface/minerva-math": KnownSet("Minerva"),
}
"""By hub id in lower case."""


def known_set(source: str) -> KnownSet | None:
    """The data set of a hub id, upper and lower case alike; None if its schema is not known."""
    return KNOWN_SETS.get(source.casefold())


def fitting_format(row: Row) -> RowFormat | None:
    """The format whose schema a row has, to advise it; None when none is sure."""
    columns = row.keys()
    if {"type", "query", "response"} <= columns:
        return "MetaMathQA"
    if {"problem", "generations"} <= columns:
        return "OpenR1"
    if {"problem", "solution"} <= columns:
        return "MATH"
    if {"question", "answer"} <= columns and "####" in str(row["answer"]):
        return "GSM8K"
    return None


def _flag(row: Row, column: str, index: int) -> bool:
    flags = row.get(column)
    return isinstance(flags, list) and index < len(flags) and flags[index] is True


def _without_dollars(text: str) -> str:
    stripped = text.strip()
    inner = stripped[1:-1] if len(stripped) > 1 and stripped[0] == stripped[-1] == "$" else stripped
    return stripped if "$" in inner else inner.strip()


def _unboxed(text: str) -> str:
    for box in reversed(boxes(text)):
        text = text[: box.start] + box.content + text[box.end :]
    return text
