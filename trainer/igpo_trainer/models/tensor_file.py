"""Tensors on disk: safetensors, the only format that is read or written."""

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors as one file that whoever may read its folder can read.

    The library makes files that only their owner can read; a pod with another user id reads them through `model.from`.
    """
    save_file(dict(tensors), path, None if metadata is None else dict(metadata))
    path.chmod(path.parent.stat().st_mode & 0o666)
