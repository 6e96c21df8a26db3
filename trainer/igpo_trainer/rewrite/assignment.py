"""What the teacher is asked about one problem: a pure function of the spec and the problem."""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import Final, Self

from igpo_trainer.data.problem import Problem
from igpo_trainer.spec.sft import LengthAlignedSFTSpec

TARGET_MARK: Final = "{target}"
"""Stands for length.target in an instruction; other braces mean themselves, as in \\boxed{}."""
_VERSION: Final = 1
"""Counts changes of the message's form, so that answers to another form are not taken for answers to this one."""


@dataclass(frozen=True, slots=True)
class Request:
    """One message to the teacher."""

    key: str
    """sha256, hex, over everything that decides the answer: two requests of one key need one answer."""
    text: str

    @property
    def most_tokens(self) -> int:
        """No fewer tokens than the message has: no tokenizer makes more than one token of a byte.

        The teacher's chat template comes on top; 64 is more than any known one adds to a single message.
        """
        return len(self.text.encode()) + 64


@dataclass(frozen=True)
class Assignment:
    """What all requests of a run have in common and what their answers depend on."""

    base_url: str
    model: str
    max_tokens: int
    temperature: float | None
    instruction: str

    @classmethod
    def of(cls, spec: LengthAlignedSFTSpec) -> Self:
        """The assignment of a run. Raises ValueError when it has no rewrite."""
        rewrite = spec.rewrite
        if rewrite is None:
            raise ValueError("spec.rewrite is absent")
        text = rewrite.prompt or (files("igpo_trainer.rewrite") / "instruction.txt").read_text(encoding="utf-8")
        return cls(
            base_url=rewrite.teacher.base_url.rstrip("/"),
            model=rewrite.teacher.model,
            max_tokens=rewrite.max_tokens,
            temperature=rewrite.temperature,
            instruction=text.replace(TARGET_MARK, str(spec.length.target)).strip(),
        )

    @property
    def fingerprint(self) -> str:
        """All of it and the form of the message, as text: where it is equal, answers may be shared."""
        return json.dumps(
            [_VERSION, self.base_url, self.model, self.max_tokens, self.temperature, self.instruction],
        )

    @cached_property
    def prompt_hash(self) -> str:
        """sha256 of the instruction, hex."""
        return hashlib.sha256(self.instruction.encode()).hexdigest()

    def request(self, problem: Problem) -> Request:
        """The message about one problem. One turn of the user, which every chat template has a place for."""
        text = (
            f"{self.instruction}\n\nProblem:\n{problem.prompt}\n\nSolution:\n{problem.trace}\n\n"
            f"Final answer: {problem.answer}"
        )
        return Request(hashlib.sha256(json.dumps([self.fingerprint, text]).encode()).hexdigest(), text)
