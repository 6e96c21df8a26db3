"""On what a run computes, kept in its checkpoints: another world rounds sums differently."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import torch
from pydantic import TypeAdapter, ValidationError

from igpo_trainer.spec.errors import InvalidRunError

WORLD_FILE = "world.json"


@dataclass(frozen=True, slots=True)
class World:
    """What the order of sums depends on. With the same world a resumed run is bit-identical to one never stopped."""

    processes: int
    threads: int
    """CPU threads of one process."""
    device: str
    """cpu, or the name of a GPU."""

    @classmethod
    def here(cls, processes: int, device: torch.device) -> Self:
        """The world of this process."""
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
        return cls(processes, torch.get_num_threads(), name)

    @classmethod
    def load(cls, checkpoint: Path) -> Self | None:
        """The world that saved a checkpoint; None for one of a version that did not keep it.

        Raises InvalidRunError when the file is damaged.
        """
        path = checkpoint / WORLD_FILE
        if not path.exists():
            return None
        try:
            return TypeAdapter(cls).validate_json(path.read_bytes())
        except ValidationError as error:
            raise InvalidRunError(
                f"{path} is damaged: it does not say what the checkpoint was computed on; remove the folder to resume "
                "from an earlier checkpoint, or restore the file"
            ) from error

    def save(self, folder: Path) -> None:
        """Write it into a checkpoint folder."""
        (folder / WORLD_FILE).write_bytes(TypeAdapter(dict[str, int | str]).dump_json(asdict(self)))

    def changes(self, now: "World") -> str:
        """What resuming a checkpoint of this world in another one means, in one line; empty when nothing changes."""
        if now == self:
            return ""
        if now.processes == self.processes:
            work = ""
        else:
            work = f"each process does {self.processes / now.processes:.3g} times the work it did; "
        return (
            f"was saved by {self} and is resumed by {now}: {work}prompts, noise, hints and the loss stay what they "
            "were, but sums are rounded in another order, so from here on weights differ in their last bits from those "
            "of a run that was not moved"
        )

    def __str__(self) -> str:
        """For people."""
        processes = "1 process" if self.processes == 1 else f"{self.processes} processes"
        return f"{processes} × {self.threads} {'thread' if self.threads == 1 else 'threads'} on {self.device}"
