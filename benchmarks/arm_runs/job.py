"""One call of `igpo run`, with the manifest that is written for it."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from igpo_trainer.spec.document import Document
from igpo_trainer.spec.manifest import load_manifest
from igpo_trainer.spec.yaml_document import write_document


@dataclass(frozen=True)
class Job:
    """Documents that are carried out one after the other, once the job named `after` is done."""

    seed: int
    title: str
    file: Path
    documents: tuple[Document, ...]
    after: str | None = None

    def run_dirs(self, runs: Path) -> list[Path]:
        """Folders of its runs, in the order in which they are made."""
        return [runs / document.kind / document.name for document in self.documents]


def write_job(
    title: str, seed: int, folder: Path, documents: Sequence[dict[str, Any]], *, after: str | None = None
) -> Job:
    """Write the manifest of a job into `folder` and read it back, checked."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{title.lower().replace(' ', '-')}-seed{seed}.yaml"
    file.write_text("---\n".join(write_document(raw) for raw in documents), encoding="utf-8")
    return Job(seed, f"{title} seed {seed}", file, tuple(load_manifest(file)), after)


def for_seed(document: Document, seed: int) -> dict[str, Any]:
    """The document with another seed, under a name of that seed, from the source of that seed."""
    raw = copy.deepcopy(document.raw)
    raw["metadata"]["name"] = f"{document.name}-seed{seed}"
    raw["spec"]["seed"] = seed
    origin = raw["spec"]["model"].get("from")
    if origin:
        origin["name"] = f"{origin['name']}-seed{seed}"
    return raw
