"""Runs that stand somewhere for as long as one looks: statuses on record, as if reached at another time."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

_FOLDER = Path(__file__).parents[2] / "data" / "status"
_THEN = datetime(2026, 3, 1, 12, tzinfo=UTC)
"""When the runs of all statuses on record were created."""
_STANDING = (("suspended", "eta-low", 15), ("backing-off", "eta-mid", 45), ("queued", "eta-high", 60))
"""A status on record, the name of its run, and how many minutes after the first recorded run it is created."""


@dataclass(frozen=True)
class Standing:
    """A run, when it was created (Unix seconds), and the status that it has from then on."""

    name: str
    created: float
    status: dict[str, Any]


def standing(first: float) -> Iterator[Standing]:
    """All of them, as if the first recorded run had been created at the Unix time `first`."""
    for situation, name, minutes in _STANDING:
        created = first + 60 * minutes
        text = (_FOLDER / f"{situation}.yaml").read_text()
        later = datetime.fromtimestamp(created, UTC) - _THEN
        yield Standing(name, created, YAML(typ="safe", pure=True).load(_moved(text, later)))


def _moved(text: str, later: timedelta) -> str:
    def shift(found: re.Match[str]) -> str:
        return (datetime.fromisoformat(found[0]) + later).strftime("%Y-%m-%dT%H:%M:%SZ")

    return re.sub(r"2026-03-01T\d\d:\d\d:\d\dZ", shift, text)
