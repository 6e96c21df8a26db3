"""Rows of a data set: a local file, a folder or the hub, by way of `datasets`. No remote code, ever."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from datasets.arrow_dataset import Dataset
from datasets.exceptions import DatasetGenerationError, DatasetNotFoundError, DatasetsError
from datasets.load import load_dataset
from datasets.utils.tqdm import disable_progress_bars
from huggingface_hub.utils import logging

from igpo_trainer.spec.errors import InvalidDataError, InvalidRunError, RunError

_BUILDERS = {".jsonl": "json", ".json": "json", ".parquet": "parquet"}


@dataclass(frozen=True, slots=True)
class Source:
    """Where rows come from; `split` does not matter for a single file."""

    location: str
    name: str | None = None
    revision: str | None = None
    split: str = "train"


def is_local(location: str) -> bool:
    """Whether a location is a file or folder of this machine, which goes before a hub id of the same name."""
    return Path(location).expanduser().exists()


def read_rows(source: Source) -> Iterator[Mapping[str, object]]:
    """Yield the rows in order.

    Raises:
        InvalidRunError: no such file, folder, hub data set, configuration or split.
        InvalidDataError: a file cannot be parsed (names file and row) or holds no row.
        RunError: the hub cannot be reached, or the disk is full (worth another try).

    """
    path = Path(source.location).expanduser()
    is_file = path.suffix in _BUILDERS and not path.is_dir()
    if is_file and not path.is_file():
        raise InvalidRunError(f"dataset.source {source.location}: no such file; correct the path")
    known = ", ".join(sorted(_BUILDERS))
    if not is_file and path.is_file():
        raise InvalidRunError(f"dataset.source {source.location}: is no {known} file; convert it to one of them")
    if not is_file and not path.is_dir() and source.location.startswith(("/", ".", "~")):
        raise InvalidRunError(
            f"dataset.source {source.location}: no such folder, and no {known} file; correct the path or give a hub id"
        )
    disable_progress_bars()
    # The hub client tells every failed attempt; the last one is our error's line.
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # datasets leaves it untyped
    local = _load_file(path) if is_file else _load_folder(path, source) if path.is_dir() else None
    rows = _load_from_hub(source) if local is None else local
    if len(rows) == 0:
        raise InvalidDataError(f"{source.location}: holds no row; give a data set with problems")
    yield from rows


def _load_file(path: Path) -> Dataset:
    try:
        return _one_split(load_dataset(_BUILDERS[path.suffix], data_files=str(path), split="train"))
    except DatasetGenerationError as error:
        raise _unreadable(path, error) from error
    except (DatasetsError, ValueError, StopIteration) as error:  # `datasets` ends by StopIteration where no row is
        raise InvalidDataError(f"{path}: no rows can be read ({_one_line(error)}); correct the file") from error
    except OSError as error:
        raise RunError(f"{path} cannot be read: {_one_line(error)}; free the disk or try again") from error


def _load_folder(path: Path, source: Source) -> Dataset:
    try:
        return _one_split(load_dataset(str(path), name=source.name, split=source.split))
    except DatasetGenerationError as error:
        raise _unreadable(path, error) from error
    except (DatasetsError, FileNotFoundError, ValueError) as error:
        raise InvalidRunError(f"dataset.source {path} (split {source.split!r}): {_one_line(error)}") from error
    except OSError as error:
        raise RunError(f"{path} cannot be read: {_one_line(error)}; free the disk or try again") from error


def _load_from_hub(source: Source) -> Dataset:
    where = f"dataset.source {source.location!r} (revision {source.revision or 'main'}, split {source.split!r})"
    try:
        return _one_split(load_dataset(source.location, source.name, revision=source.revision, split=source.split))
    except (DatasetNotFoundError, ValueError) as error:
        raise InvalidRunError(
            f"{where}: {_one_line(error)}; correct source, name, revision or split, or set HF_TOKEN for a private set"
        ) from error
    except DatasetGenerationError as error:
        raise _unreadable(None, error, where) from error
    except DatasetsError as error:
        raise InvalidRunError(f"{where}: {_one_line(error)}") from error
    except OSError as error:
        raise RunError(
            f"{where}: the hub cannot be reached or the cache not written ({_one_line(error)}); try again, "
            "or put the rows into a .jsonl file and name that"
        ) from error


def _one_split(loaded: object) -> Dataset:
    assert isinstance(loaded, Dataset), f"a split was asked for, datasets gave {type(loaded).__name__}"
    return loaded


def _unreadable(path: Path | None, error: DatasetGenerationError, where: str = "") -> RunError:
    cause = error.__cause__ or error
    if isinstance(cause, OSError):
        return RunError(f"{path or where}: {_one_line(cause)}; free the disk or try again")
    if path is not None and path.suffix == ".jsonl":
        for number, line in enumerate(path.read_bytes().splitlines(), 1):
            try:
                json.loads(line or b"null")
            except ValueError as problem:
                return InvalidDataError(
                    f"{path} row {number}: not JSON ({_one_line(problem)}); correct or remove the row"
                )
    return InvalidDataError(f"{path or where}: cannot be read as rows ({_one_line(cause)}); correct the file")


def _one_line(error: BaseException) -> str:
    lines = str(error).split("\n")
    return lines[0][:300] or type(error).__name__
