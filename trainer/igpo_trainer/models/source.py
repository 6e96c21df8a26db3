"""Where a model's files are: a folder, or a snapshot of a hub repository without any code."""

from pathlib import Path
from typing import Final

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

from igpo_trainer.spec.errors import InvalidRunError, RunError

_TEXTS: Final = ("*.json", "*.jinja", "merges.txt")
_WEIGHTS: Final = ("*.safetensors",)
"""What is downloaded: no Python files, no pickles."""


def model_folder(source: str, revision: str | None = None, *, weights: bool = True) -> Path:
    """Return `source` itself if it is a folder, else a snapshot of that hub repository, with or without weights.

    Raises:
        InvalidRunError: no such folder or repository, or a file.
        RunError: the hub cannot be reached (worth another try).

    """
    path = Path(source).expanduser()
    if path.is_dir():
        return path
    if path.exists():
        raise InvalidRunError(
            f"model.source {source!r} is a file; name the folder that holds config.json, or a .gguf file"
        )
    if source.startswith(("/", ".", "~")):
        raise InvalidRunError(f"model.source {source!r}: no such folder; correct the path or give a hub id")
    patterns = [*_TEXTS, *(_WEIGHTS if weights else ())]
    try:
        return Path(snapshot_download(source, revision=revision, allow_patterns=patterns))
    except (HFValidationError, RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise InvalidRunError(
            f"model.source {source!r} at revision {revision or 'main'!r}: no folder, nor a hub repository that can be "
            "read; correct it, or set HF_TOKEN for a private one"
        ) from error
    except Exception as error:  # the hub client's HTTP library, and with it the type, differs between its versions
        raise RunError(
            f"model.source {source!r}: the hub cannot be reached or does not answer ({_first_line(error)}); "
            "try again, or put the files into a folder and name that"
        ) from error


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
