"""One call of `igpo run`, with the manifest that is written for it."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from igpo_trainer.spec.document import Document
from igpo_trainer.spec.igpo import IGPOTrainingSpec
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


def measure(raw: dict[str, Any], *, problems: int, samples: int, temperature: float, every_steps: int = 0) -> None:
    """Have a document measured on so many held-out problems: one greedy sample each, and several at a temperature."""
    spec = raw["spec"]
    spec["dataset"] = spec["dataset"] | {"holdout": {"rows": problems}}
    sampled = {"source": "holdout", "samples": samples, "temperature": temperature}
    spec["evaluation"] = {"everySteps": every_steps, "datasets": [{"source": "holdout"}, sampled]}


def sft_and_rl(manifest: Path) -> tuple[list[Document], Document]:
    """The SFT documents and the IGPO document of a manifest.

    Raises SystemExit when the manifest is not SFT followed by one IGPO document.
    """
    documents = load_manifest(manifest)
    sft = [d for d in documents if d.kind == "LengthAlignedSFT"]
    rl = [d for d in documents if isinstance(d.spec, IGPOTrainingSpec)]
    if not sft or len(rl) != 1:
        raise SystemExit(
            f"{manifest}: holds {len(sft)} LengthAlignedSFT and {len(rl)} IGPOTraining documents; "
            "give one IGPOTraining and the LengthAlignedSFT it starts from"
        )
    return sft, rl[0]
