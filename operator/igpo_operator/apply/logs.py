"""Logs as one JSON object a line, each with the run it is about."""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

from igpo_operator.apply.view import RunKey

_CURRENT: ContextVar[RunKey | None] = ContextVar("run", default=None)


@contextmanager
def about(key: RunKey) -> Iterator[None]:
    """Mark everything logged inside as being about one run."""
    token = _CURRENT.set(key)
    try:
        yield
    finally:
        _CURRENT.reset(token)


class JsonFormatter(logging.Formatter):
    """time, level, logger, message; kind, namespace and training when it is about a run; error with its traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one line."""
        line: dict[str, str] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        key = _CURRENT.get()
        if key is not None:
            line |= dict(zip(("kind", "namespace", "training"), key, strict=True))
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """For people: one line, the run in brackets."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one line, and the traceback if there is one."""
        key = _CURRENT.get()
        run = f" [{key[0]} {key[1]}/{key[2]}]" if key is not None else ""
        text = f"{datetime.fromtimestamp(record.created, UTC):%H:%M:%S} {record.levelname}{run} {record.getMessage()}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


def set_up(level: str, form: str) -> None:
    """Log to stderr, ours and kopf's alike; kopf's account of each event only when debugging."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    if level != "DEBUG":
        logging.getLogger("kopf").setLevel(logging.WARNING)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
