"""What a finished rewrite leaves: kept.jsonl and dropped.jsonl with provenance, and result.json, which completes it."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from igpo_trainer.data.problem import Problem
from igpo_trainer.observe.line_file import read_lines
from igpo_trainer.observe.records import RewriteRecord
from igpo_trainer.rewrite.assignment import Assignment
from igpo_trainer.spec.contract import REWRITE_RESULT_FILE
from igpo_trainer.spec.errors import InvalidDataError
from igpo_trainer.spec.sft import LengthAlignedSFTSpec

KEPT_FILE: Final = "kept.jsonl"
DROPPED_FILE: Final = "dropped.jsonl"


class RewrittenRow(BaseModel):
    """A line of kept.jsonl or dropped.jsonl. As a dataset.source, kept.jsonl has fields prompt, trace and answer."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    key: str = Field(description="Of the problem: sha256 over prompt and answer, 16 hex digits.")
    prompt: str
    trace: str = Field(description="The rewrite; empty when the teacher gave none.")
    answer: str
    difficulty: str = ""
    original: str = Field(description="The trace that was rewritten.")
    tokens: int | None = Field(default=None, description="Length of the rewrite in our tokens, end token included.")
    original_tokens: int = Field(description="Length of the original in our tokens, end token included.")
    verdict: str | None = Field(default=None, description="right, wrong or unjudged; null: never judged.")
    reason: str | None = Field(default=None, description="Why it was dropped; null: kept.")
    detail: str = Field(default="", description="What the teacher said when it refused or failed.")
    teacher: str = Field(description="Model name.")
    base_url: str
    prompt_hash: str = Field(description="sha256 of the instruction, hex.")
    request: str = Field(description="sha256 of all that decides the answer, hex: its key in answers.jsonl.")
    finish: str = Field(default="", description="The API's finish_reason.")
    prompt_tokens: int = Field(default=0, description="Read by the teacher, in its tokens.")
    completion_tokens: int = Field(default=0, description="Written by the teacher, in its tokens.")

    def problem(self, origin: str) -> Problem:
        """The row as a problem to train on."""
        return Problem(self.key, self.prompt, self.trace, self.answer, self.difficulty, origin)


class RewriteResult(BaseModel):
    """result.json."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    inputs: str = Field(description="inputs_hash of what was rewritten.")
    record: RewriteRecord


_ROWS: Final = TypeAdapter(RewrittenRow)


def inputs_hash(problems: Iterable[Problem], spec: LengthAlignedSFTSpec) -> str:
    """sha256, hex, of all that decides what is kept: the rows in order, what the teacher is asked, and the lengths.

    The tokenizer is left out: it belongs to the spec, whose hash the folder bears.
    """
    assignment = Assignment.of(spec)
    digest = hashlib.sha256(assignment.fingerprint.encode())
    digest.update(json.dumps([spec.length.target, spec.dataset.max_prompt_tokens]).encode())
    for problem in problems:
        digest.update(json.dumps([problem.prompt, problem.trace, problem.answer, problem.difficulty]).encode())
    return digest.hexdigest()


def encoded_rows(rows: Sequence[RewrittenRow]) -> bytes:
    """Bytes of a file of rows."""
    return b"".join(row.model_dump_json().encode() + b"\n" for row in rows)


def read_result(folder: Path, inputs: str) -> RewriteResult | None:
    """The finished result in a folder if it was made of these inputs, else None."""
    path = folder / REWRITE_RESULT_FILE
    try:
        result = RewriteResult.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise InvalidDataError(
            f"{path} is no result of a rewrite ({error.errors()[0]['msg']}); remove it and start again: the answers "
            "beside it are kept"
        ) from error
    return result if result.inputs == inputs else None


def kept_problems(folder: Path) -> list[Problem]:
    """The problems of a finished result with their rewritten traces, in the data's order."""
    path = folder / KEPT_FILE
    rows = (row for _, row in read_lines(path, _ROWS))
    return [row.problem(f"{path} row {number}") for number, row in enumerate(rows, 1)]
