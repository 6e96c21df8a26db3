"""Tensors of a checkpoint: in one file, or in one per process with that process's rows of every tensor."""

import math
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import torch
from safetensors import safe_open
from torch import Tensor

from igpo_trainer.folder import fsync
from igpo_trainer.models.tensor_file import write_tensors
from igpo_trainer.spec.errors import InvalidRunError

_SUFFIX: Final = ".safetensors"


@dataclass(frozen=True, slots=True)
class Part:
    """Which rows of every tensor one of `count` processes holds; with one process all of them."""

    index: int = 0
    count: int = 1

    def rows(self, total: int) -> slice:
        """Of `total` rows: chunks of equal size in the order of the processes, the last ones shorter or empty.

        FSDP2's own division (torch.chunk).
        """
        size = math.ceil(total / self.count)
        return slice(min(self.index * size, total), min((self.index + 1) * size, total))

    def file(self, name: str) -> str:
        """Name of this part of the file `name`."""
        if self.count == 1:
            return name
        return f"{name.removesuffix(_SUFFIX)}-{self.index + 1:05d}-of-{self.count:05d}{_SUFFIX}"

    def write(self, path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
        """Write this part of the file `path`: its rows of `tensors`, and scalars that all parts hold alike.

        One of several parts is on the disk afterwards: who publishes the folder may be on another machine.
        """
        path = path.with_name(self.file(path.name))
        write_tensors(path, {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, metadata)
        if self.count > 1:
            fsync(path)


class StoredTensors:
    """Reads what the parts of one file hold, whatever their number; a context manager.

    Raises:
        InvalidRunError: the file, or one of its parts, is missing.

    """

    def __init__(self, path: Path) -> None:
        self._paths = [path] if path.exists() else sorted(path.parent.glob(f"{path.stem}-*-of-*{_SUFFIX}"))
        count = 1 if path in self._paths else int(self._paths[0].stem.rpartition("-")[2]) if self._paths else 0
        if not self._paths or len(self._paths) != count:
            raise InvalidRunError(
                f"{path}: {len(self._paths)} of {count or 1} files are there; remove the folder to resume from an "
                "earlier checkpoint, or restore them"
            )
        self._opened = ExitStack()
        self._files: list[Any] = []

    def __enter__(self) -> Self:
        """Open the files; tensors are read when asked for."""
        self._files = [self._opened.enter_context(safe_open(path, "pt")) for path in self._paths]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the files."""
        self._opened.close()

    @property
    def names(self) -> list[str]:
        """Every tensor."""
        return list(self._files[0].keys())

    @property
    def metadata(self) -> dict[str, str]:
        """What was written beside the tensors."""
        return self._files[0].metadata() or {}

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a whole tensor."""
        first, *rest = (tuple(file.get_slice(name).get_shape()) for file in self._files)
        return (first[0] + sum(shape[0] for shape in rest), *first[1:]) if first else ()

    def read(self, name: str, part: Part) -> Tensor:
        """A part's rows of a tensor; a scalar as it is."""
        shape = self.shape(name)
        if not shape:
            scalar: Tensor = self._files[0].get_tensor(name)
            return scalar
        wanted, begin = part.rows(shape[0]), 0
        found: list[Tensor] = []
        for file in self._files:
            rows = file.get_slice(name)
            end = begin + rows.get_shape()[0]
            start, stop = max(wanted.start, begin), min(wanted.stop, end)
            if start < stop or not found:
                found.append(rows[max(0, start - begin) : max(0, stop - begin)])
            begin = end
        return torch.cat(found) if len(found) > 1 else found[0]
