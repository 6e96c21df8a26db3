"""The teacher's answers on disk: append only, whole after a kill at any moment, never asked for twice."""

import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from igpo_trainer.observe.line_file import LineFile, read_lines
from igpo_trainer.rewrite.assignment import Request

ANSWERS_FILE: Final = "answers.jsonl"
_SYNC_SECONDS: Final = 1.0


class Answer(BaseModel):
    """One line: what the teacher made of one request, and what that cost."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    key: str = Field(description="Request.key.")
    text: str | None = Field(
        description="What the teacher wrote; None when it cannot be read but may have cost tokens."
    )
    finish: str = Field(default="", description="The API's finish_reason: stop, length, content_filter …")
    prompt_tokens: int = Field(ge=0, description="Read by the teacher, in its tokens.")
    completion_tokens: int = Field(ge=0, description="Written by the teacher, in its tokens.")

    @property
    def tokens(self) -> int:
        """What it cost, in the teacher's tokens."""
        return self.prompt_tokens + self.completion_tokens


_LINES: Final[TypeAdapter[Answer]] = TypeAdapter(Answer)


class AnswerFile:
    """answers.jsonl of a run. A context manager; one process at a time writes.

    A line is with the operating system when `add` returns, so a killed process loses nothing that it was told. It is
    on the disk a second later at most, while answers keep coming, and when the file is closed.
    """

    def __init__(self, folder: Path) -> None:
        """Open for appending, and read what is there. Raises InvalidDataError for a damaged line."""
        self.path = folder / ANSWERS_FILE
        self.prompt_tokens = 0
        """Read by the teacher for all lines, unreadable answers included; completion_tokens: written by it."""
        self.completion_tokens = 0
        self._by_key: dict[str, Answer] = {}
        for _, answer in read_lines(self.path, _LINES):
            self._take(answer)
        self._file = LineFile(self.path, _LINES)
        self._synced = time.monotonic()

    @property
    def spent(self) -> int:
        """The teacher's tokens of all lines."""
        return self.prompt_tokens + self.completion_tokens

    def get(self, request: Request) -> Answer | None:
        """The answer to a request, None when there is none yet."""
        return self._by_key.get(request.key)

    def __len__(self) -> int:
        """Requests that have an answer."""
        return len(self._by_key)

    def __iter__(self) -> Iterator[Answer]:
        return iter(self._by_key.values())

    def add(self, answer: Answer) -> None:
        """Append one line. Raises OSError when the disk is full; the lines before are kept."""
        self._file.write(answer)
        self._take(answer)
        if time.monotonic() - self._synced >= _SYNC_SECONDS:
            self._file.sync()
            self._synced = time.monotonic()

    def _take(self, answer: Answer) -> None:
        self.prompt_tokens += answer.prompt_tokens
        self.completion_tokens += answer.completion_tokens
        if answer.text is not None:
            self._by_key[answer.key] = answer

    def close(self) -> None:
        """Sync and close."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
