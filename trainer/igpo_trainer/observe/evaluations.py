"""Every completion of an evaluation: one JSONL file a measurement, with what it was measured by in its first line."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

import numpy as np
from pydantic import Field, TypeAdapter, ValidationError

from igpo_trainer.observe.estimates import Values
from igpo_trainer.observe.records import EvaluationRecord, Measurement, Record
from igpo_trainer.spec.contract import EVALUATIONS_DIR
from igpo_trainer.spec.errors import InvalidDataError, InvalidRunError

_STEP: Final = "step-{:08d}"
_LONGEST_NAME: Final = 100
_REMEDY: Final = "give a file that igpo run or igpo eval --out wrote"


class EvaluatedSample(Record):
    """One completion of one problem."""

    event: Literal["sample"] = "sample"
    problem: str = Field(description="Key of the problem: the same in every run over the same data.")
    difficulty: str = ""
    sample: int = Field(description="Index among the problem's k samples.")
    answer: str = Field(description="Reference answer.")
    found: str | None = Field(description="What stands in the completion's last box; null without one.")
    verdict: Literal["right", "wrong", "unjudged"]
    reason: str = Field(default="", description="Why there is no verdict; empty otherwise.")
    length: int = Field(description="Tokens |o| up to and with the end token.")
    truncated: bool = Field(description="Whether the canvas was filled without an end token.")
    text: str = Field(description="The completion without special tokens.")


_Line = Annotated[EvaluationRecord | EvaluatedSample, Field(discriminator="event")]
_LINES: Final[TypeAdapter[_Line]] = TypeAdapter(_Line)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One measurement of a policy: the numbers, and the completions behind them."""

    record: EvaluationRecord
    samples: tuple[EvaluatedSample, ...]
    """Problem by problem, each with its samples in order."""

    @property
    def problems(self) -> tuple[str, ...]:
        """Keys of the problems, in order."""
        return tuple(sample.problem for sample in self.samples[:: self.record.samples])

    def right_counts(self) -> Values:
        """Count the right samples of each problem."""
        right = np.array([sample.verdict == "right" for sample in self.samples], dtype=np.float64)
        counts_P: Values = right.reshape(-1, self.record.samples).sum(axis=1)
        return counts_P

    def encode(self) -> bytes:
        """Make the file's contents."""
        lines = [self.record.model_dump_json(), *(sample.model_dump_json() for sample in self.samples)]
        return "".join(f"{line}\n" for line in lines).encode()

    def path(self, folder: Path) -> Path:
        """Name its file below a folder of evaluations: step-00000024/openai-gsm8k-1fd2a90c-1xT0.jsonl."""
        label = self.record.dataset
        name = re.sub(r"[^A-Za-z0-9._]+", "-", label)[-_LONGEST_NAME:]
        if name != label:  # two sets must not share a file
            name = f"{name.strip('-.')}-{hashlib.sha256(label.encode()).hexdigest()[:8]}"
        how = f"{self.record.samples}xT{self.record.temperature:g}"
        return folder / _STEP.format(self.record.step) / f"{name}-{how}.jsonl"


def read_evaluation(path: Path) -> Evaluation:
    """Read one file.

    Raises:
        InvalidRunError: there is no such file.
        InvalidDataError: it is no file of an evaluation, or not whole.

    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise InvalidRunError(f"{path} cannot be read ({error.strerror}); {_REMEDY}") from error
    parsed: list[EvaluationRecord | EvaluatedSample] = []
    for number, line in enumerate(lines, 1):
        try:
            parsed.append(_LINES.validate_json(line))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise InvalidDataError(f"{path}:{number}: {where or 'the line'}: {first['msg']}; {_REMEDY}") from error
    record, samples = parsed[0] if parsed else None, parsed[1:]
    if not isinstance(record, EvaluationRecord):
        raise InvalidDataError(f"{path}: does not begin with an evaluation; {_REMEDY}")
    kept = tuple(sample for sample in samples if isinstance(sample, EvaluatedSample))
    expected = record.problems * record.samples
    if len(kept) != expected or len(samples) != expected:
        raise InvalidDataError(f"{path}: holds {len(samples)} completions, {expected} were measured; write it again")
    return Evaluation(record, kept)


def find_evaluations(place: Path) -> dict[Measurement, Evaluation]:
    """Read a file, all files of a folder, or those of the newest step of a run folder or of a folder of evaluations.

    Raises InvalidRunError when there is none, and what read_evaluation raises.
    """
    if place.is_file():
        files: Sequence[Path] = [place]
    else:
        inner = place / EVALUATIONS_DIR
        folder = inner if inner.is_dir() else place
        files = sorted(folder.glob("*.jsonl")) if folder != inner else []
        steps = sorted(folder.glob("step-*"))
        if not files and steps:
            files = sorted(steps[-1].glob("*.jsonl"))
    if not files:
        raise InvalidRunError(
            f"{place} holds no evaluation; name a run folder, a .jsonl file, or a folder that igpo eval --out wrote"
        )
    found = [read_evaluation(path) for path in files]
    return {evaluation.record.measurement: evaluation for evaluation in found}
