"""How torchrun saw its failed ranks end, handed from its process to the launcher's."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from igpo_trainer.folder import write_atomically

_FILE: Final = "torchrun.json"


@dataclass(frozen=True, slots=True)
class RankExit:
    """The end of one failed rank."""

    code: int
    """The process's exit code; -n when signal n killed it."""
    at: float
    """Seconds since the epoch, whole seconds."""


_EXITS: Final = TypeAdapter(dict[int, RankExit])


def leave_rank_exits(folder: Path, exits: Mapping[int, RankExit]) -> None:
    """Write exits, keyed by local rank."""
    write_atomically(folder / _FILE, _EXITS.dump_json(dict(exits)))


def read_rank_exits(folder: Path) -> dict[int, RankExit]:
    """Read what leave_rank_exits wrote; empty when torchrun named no failed rank, as when it was told to stop."""
    try:
        return _EXITS.validate_json((folder / _FILE).read_bytes())
    except (OSError, ValidationError):
        return {}
