"""Weights on disk: safetensors, sharded or not, checked before they are trusted. Pickles are refused."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError, safe_open
from torch import Tensor

from igpo_trainer.models.tensor_file import write_tensors
from igpo_trainer.spec.errors import InvalidRunError

SHARD_BYTES: Final = 4 * 2**30
"""A shard is closed once it holds this much; also the memory that saving needs beside the model."""

_SINGLE: Final = "model.safetensors"
_INDEX: Final = "model.safetensors.index.json"
_PICKLES: Final = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


def read_json(path: Path) -> dict[str, Any]:
    """Read one JSON object.

    Raises:
        InvalidRunError: the file is missing or holds no JSON object.

    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InvalidRunError(
            f"{path} is missing; the folder holds no complete model: copy or download it again"
        ) from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InvalidRunError(f"{path} is no JSON ({error}); copy or download it again") from error
    if not isinstance(content, dict):
        raise InvalidRunError(f"{path} holds a JSON {type(content).__name__}, not an object; copy or download it again")
    return content


def weight_files(folder: Path) -> list[Path]:
    """List the safetensors files of a model by name, all of them present and whole.

    Raises:
        InvalidRunError: only pickles, no weights, a missing shard or a truncated file.

    """
    index = folder / _INDEX
    if index.is_file():
        names = _shards(index)
        missing = [name for name in names if not (folder / name).is_file()]
        if missing:
            raise InvalidRunError(
                f"{folder / missing[0]} is missing ({len(missing)} of {len(names)} shards in {_INDEX} are); "
                "copy or download it again"
            )
        files = [folder / name for name in names]
    else:
        files = [folder / _SINGLE] if (folder / _SINGLE).is_file() else []
    if not files:
        pickles = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))
        if pickles:
            raise InvalidRunError(
                f"{folder / pickles[0]}: pickled weights are refused, they can run code: convert to safetensors"
            )
        raise InvalidRunError(f"{folder} holds neither {_SINGLE} nor {_INDEX}; point model.source at a saved model")
    for path in files:
        _check_whole(path)
    return files


def _shards(index: Path) -> list[str]:
    """File names in an index, each within its own folder."""
    shards = read_json(index).get("weight_map")
    names = set(shards.values()) if isinstance(shards, dict) else set()
    if not names or any(not isinstance(name, str) or Path(name).name != name for name in names):
        raise InvalidRunError(f"{index} names no shard files in its weight_map; copy or download it again")
    return sorted(names)


def read_weights(files: Iterable[Path]) -> Iterator[tuple[str, Tensor, Path]]:
    """Every tensor of the files with its name and file, one at a time, memory-mapped.

    Raises:
        InvalidRunError: a file is no safetensors.

    """
    for path in files:
        try:
            with safe_open(path, framework="pt") as opened:
                for name in opened.keys():  # noqa: SIM118 - safe_open is no mapping
                    yield name, opened.get_tensor(name), path
        except SafetensorError as error:
            raise InvalidRunError(f"{path} is no readable safetensors ({error}); copy or download it again") from error


def write_weights(folder: Path, tensors: Iterable[tuple[str, Tensor]]) -> None:
    """Write tensors into `folder` as one safetensors file, or as shards with an index when beyond SHARD_BYTES."""
    shards: list[list[str]] = []
    pending: dict[str, Tensor] = {}
    pending_bytes = total = 0
    for name, tensor in tensors:
        size = tensor.numel() * tensor.itemsize
        if pending and pending_bytes + size > SHARD_BYTES:
            shards.append(_write_shard(folder, len(shards), pending))
            pending, pending_bytes = {}, 0
        pending[name] = tensor.detach().to("cpu").contiguous()
        pending_bytes += size
        total += size
    shards.append(_write_shard(folder, len(shards), pending))
    if len(shards) == 1:
        _shard_path(folder, 0).rename(folder / _SINGLE)
        return
    weight_map = {}
    for number, names in enumerate(shards):
        file = f"model-{number + 1:05d}-of-{len(shards):05d}.safetensors"
        _shard_path(folder, number).rename(folder / file)
        weight_map.update(dict.fromkeys(names, file))
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    (folder / _INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _shard_path(folder: Path, number: int) -> Path:
    return folder / f"shard-{number}.safetensors"


def _write_shard(folder: Path, number: int, tensors: dict[str, Tensor]) -> list[str]:
    # A tensor that views a part of a larger storage would drag the rest along.
    copies = {name: tensor.clone() for name, tensor in tensors.items()}
    write_tensors(_shard_path(folder, number), copies, {"format": "pt"})
    return list(tensors)


def _check_whole(path: Path) -> None:
    """Compare a file's size with what its header promises."""
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            header_size = int.from_bytes(file.read(8), "little")
            if header_size + 8 > size:
                raise InvalidRunError(
                    f"{path} is truncated: it has {size} bytes and its header alone {header_size + 8}; "
                    "copy or download it again"
                )
            header = json.loads(file.read(header_size))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidRunError(f"{path} is no safetensors ({error}); copy or download it again") from error
    promised = 8 + header_size + max(ends, default=0)
    if size != promised:
        raise InvalidRunError(
            f"{path} is truncated: it has {size} bytes and its header promises {promised}; copy or download it again"
        )
