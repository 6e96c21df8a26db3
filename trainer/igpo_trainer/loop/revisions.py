"""Which commits of the hub a run really used."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from huggingface_hub import try_to_load_from_cache

from igpo_trainer.spec.document import Spec

_COMMIT: Final = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Revisions:
    """Commits, as 40 hex digits; None for files of one's own, and where nothing tells."""

    model: str | None
    dataset: str | None


def revisions_of(spec: Spec) -> Revisions:
    """Commits behind a spec whose model has been loaded. Asks the local cache only.

    The data set's is known when the manifest names the commit: `datasets` does not keep what a branch stood for.
    """
    return Revisions(_model(spec.model.source, spec.model.revision), _commit(spec.dataset.revision))


def _model(source: str | None, revision: str | None) -> str | None:
    if source is None or Path(source).expanduser().exists():
        return None
    cached = try_to_load_from_cache(source, "config.json", revision=revision)
    return _commit(Path(cached).parent.name) if isinstance(cached, str) else None


def _commit(name: str | None) -> str | None:
    return name if name is not None and _COMMIT.fullmatch(name) else None
