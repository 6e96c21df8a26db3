"""The manifests of the comparison, derived from one that trains IGPO after SFT."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from igpo_trainer.spec.document import Document
from igpo_trainer.spec.igpo import IGPOTrainingSpec
from igpo_trainer.spec.manifest import load_manifest
from igpo_trainer.spec.yaml_document import write_document

ARMS = ("IGPO", "Resample", "GRPO")


@dataclass(frozen=True)
class Job:
    """One call of `igpo run`: the SFT documents of a seed, or one arm."""

    seed: int
    title: str
    file: Path
    documents: tuple[Document, ...]

    def run_dirs(self, runs: Path) -> list[Path]:
        """Folders of its runs, in the order in which they are made."""
        return [runs / document.kind / document.name for document in self.documents]


@dataclass(frozen=True)
class SeedPlan:
    """What is run for one seed: SFT first, then each arm from its result."""

    seed: int
    sft: Job
    arms: dict[str, Job]

    @property
    def jobs(self) -> list[Job]:
        """SFT and the arms."""
        return [self.sft, *self.arms.values()]


def write_plans(manifest: Path, folder: Path, seeds: Sequence[int], *, problems: int, samples: int) -> list[SeedPlan]:
    """Write the manifests of every seed into `folder`.

    Seeds, names, algorithm, the size of the hold-out and the evaluation are set here; all else is the manifest's.
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
    folder.mkdir(parents=True, exist_ok=True)
    return [_plan(sft, rl[0], folder, seed, problems=problems, samples=samples) for seed in seeds]


def _plan(sft: Sequence[Document], rl: Document, folder: Path, seed: int, *, problems: int, samples: int) -> SeedPlan:
    before = _job("SFT", seed, folder, [_for_seed(document, seed) for document in sft])
    arms = {}
    for arm in ARMS:
        raw = _for_seed(rl, seed)
        raw["metadata"]["name"] = f"{rl.name}-{arm.lower()}-seed{seed}"
        spec = raw["spec"]
        spec["algorithm"] = arm
        spec["dataset"] = spec["dataset"] | {"holdout": {"rows": problems}}
        sampled = {"source": "holdout", "samples": samples, "temperature": rl.spec.sampling.temperature}
        spec["evaluation"] = {"everySteps": 0, "datasets": [{"source": "holdout"}, sampled]}
        arms[arm] = _job(arm, seed, folder, [raw])
    return SeedPlan(seed, before, arms)


def _for_seed(document: Document, seed: int) -> dict[str, Any]:
    raw = copy.deepcopy(document.raw)
    raw["metadata"]["name"] = f"{document.name}-seed{seed}"
    raw["spec"]["seed"] = seed
    origin = raw["spec"]["model"].get("from")
    if origin:
        origin["name"] = f"{origin['name']}-seed{seed}"
    return raw


def _job(title: str, seed: int, folder: Path, documents: Sequence[dict[str, Any]]) -> Job:
    file = folder / f"{title.lower()}-seed{seed}.yaml"
    file.write_text("---\n".join(write_document(raw) for raw in documents), encoding="utf-8")
    return Job(seed, f"{title} seed {seed}", file, tuple(load_manifest(file)))
