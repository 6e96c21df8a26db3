"""How far the run is, for whoever has to report its end."""

from dataclasses import dataclass

from igpo_trainer.spec.contract import CheckpointStatus


@dataclass(slots=True)
class Position:
    """The loop keeps it current, so that even a crash can tell."""

    step: int | None = None
    """Last finished step; None before the first."""
    checkpoint: str | None = None
    """Folder name of the last complete checkpoint."""
    latest: CheckpointStatus | None = None
    """The same with its digest; on the main rank only."""
    best: CheckpointStatus | None = None
    """The highest-scored complete checkpoint; on the main rank only."""
