"""Which rewrites are trained on: those whose answer verifies and that fit the canvas, each once."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from igpo_trainer.boxed import last_boxed
from igpo_trainer.data.problem import Problem
from igpo_trainer.rewards.judge import Judge
from igpo_trainer.rewards.verdict import JudgeTask, Outcome
from igpo_trainer.rewrite.answers import Answer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_THOUGHTS_END: Final = "</think>"


class Reason(StrEnum):
    """Why a trace is left out, as the report shows it. The first that applies counts."""

    REFUSED = "refused by the teacher"
    UNANSWERED = "no answer from the teacher"
    EMPTY = "empty rewrite"
    CUT_OFF = "rewrite cut off at rewrite.maxTokens"
    SPECIAL_TOKEN = "rewrite holds a special token"  # noqa: S105
    NO_BOX = "rewrite without \\boxed answer"
    WRONG = "rewrite with a wrong answer"
    UNJUDGED = "rewrite that the verifier gave no verdict on"
    UNKNOWN_WORD = "rewrite with words the tokenizer does not know"
    TOO_LONG = "rewrite longer than length.target"
    DUPLICATE = "duplicate of another rewrite"


@dataclass(frozen=True, slots=True)
class Inspection:
    """What is found out about one rewrite on its own."""

    text: str
    """As it would be written on the canvas."""
    tokens: int | None
    """Length in our tokens, end token included; None where it was not measured."""
    verdict: Outcome | None
    reason: Reason | None
    """None: keep it."""


def written(text: str) -> str:
    """The rewrite without what a reasoning model thought before it, and without outer space."""
    return text.rpartition(_THOUGHTS_END)[2].strip()


class Inspector:
    """Looks at rewrites. Not for use by two threads at once, as its judge is not."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", judge: Judge, target_length: int) -> None:
        """`target_length`: trace and end token in our tokens must fit it; prompt and template do not count."""
        self._tokenizer = tokenizer
        self._judge = judge
        self._target = target_length
        added = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
        self._special = tuple(sorted(added | set(tokenizer.all_special_tokens)))

    def inspect(self, pairs: Sequence[tuple[Problem, Answer]]) -> list[Inspection]:
        """Look at some answers together, in order."""
        texts = [written(answer.text or "") for _, answer in pairs]
        early = [self._readable(text, answer) for text, (_, answer) in zip(texts, pairs, strict=True)]
        at = [index for index, reason in enumerate(early) if reason is None]
        tasks = [JudgeTask(pairs[index][0].prompt, texts[index], pairs[index][0].answer) for index in at]
        verdicts = dict(zip(at, self._judge.judge(tasks), strict=True))
        lengths = dict(zip(at, self._ids([texts[index] for index in at]), strict=True))
        found = []
        for index, text in enumerate(texts):
            if index not in verdicts:
                found.append(Inspection(text, None, None, early[index]))
                continue
            outcome, ids = verdicts[index].outcome, lengths[index]
            found.append(Inspection(text, len(ids) + 1, outcome, self._reason(outcome, ids)))
        return found

    def _readable(self, text: str, answer: Answer) -> Reason | None:
        if not text:
            return Reason.CUT_OFF if answer.finish == "length" else Reason.EMPTY
        if answer.finish == "length":
            return Reason.CUT_OFF
        if any(token in text for token in self._special):
            return Reason.SPECIAL_TOKEN
        return Reason.NO_BOX if last_boxed(text) is None else None

    def _reason(self, outcome: Outcome, ids: Sequence[int]) -> Reason | None:
        if outcome is not Outcome.RIGHT:
            return Reason.WRONG if outcome is Outcome.WRONG else Reason.UNJUDGED
        if self._tokenizer.unk_token_id is not None and self._tokenizer.unk_token_id in ids:
            return Reason.UNKNOWN_WORD
        return Reason.TOO_LONG if len(ids) + 1 > self._target else None

    def _ids(self, texts: list[str]) -> list[list[int]]:
        if not texts:
            return []
        encoded: Any = self._tokenizer(texts, add_special_tokens=False)
        return list(encoded["input_ids"])


def without_duplicates(rows: Sequence[tuple[Problem, Inspection]]) -> list[Inspection]:
    """Mark every kept rewrite that an earlier row has for the same problem; spacing, and the prompt's case, aside."""
    seen: set[tuple[str, str]] = set()
    marked = []
    for problem, found in rows:
        identity = " ".join(problem.prompt.casefold().split()), " ".join(found.text.split())
        duplicate = found.reason is None and identity in seen
        if found.reason is None:
            seen.add(identity)
        marked.append(Inspection(found.text, found.tokens, found.verdict, Reason.DUPLICATE) if duplicate else found)
    return marked
