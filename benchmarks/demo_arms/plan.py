"""The manifests of the comparison, derived from one that trains IGPO after SFT."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from arm_runs.job import Job, for_seed, measure, sft_and_rl, write_job

from igpo_trainer.spec.document import Document

ARMS = ("IGPO", "Resample", "GRPO")


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
    """
    sft, rl = sft_and_rl(manifest)
    return [_plan(sft, rl, folder, seed, problems=problems, samples=samples) for seed in seeds]


def _plan(sft: Sequence[Document], rl: Document, folder: Path, seed: int, *, problems: int, samples: int) -> SeedPlan:
    before = write_job("SFT", seed, folder, [for_seed(document, seed) for document in sft])
    arms = {}
    for arm in ARMS:
        raw = for_seed(rl, seed)
        raw["metadata"]["name"] = f"{rl.name}-{arm.lower()}-seed{seed}"
        raw["spec"]["algorithm"] = arm
        measure(raw, problems=problems, samples=samples, temperature=rl.spec.sampling.temperature)
        arms[arm] = write_job(arm, seed, folder, [raw], after=before.title)
    return SeedPlan(seed, before, arms)
