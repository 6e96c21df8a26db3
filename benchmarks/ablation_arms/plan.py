"""The manifests of the ablations, derived from one chain: SFT documents, some on verbose traces, then RL."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from arm_runs.job import Job, for_seed, measure, sft_and_rl, write_job

from ablation_arms.length import rows_network_tokens
from igpo_trainer.spec.document import Document
from igpo_trainer.spec.sft import LengthAlignedSFTSpec

REWRITTEN: Final = "rewritten"
ORIGINALS: Final = "originals"
FEWER: Final = "originals, equal tokens"
SFT_ARMS: Final = (REWRITTEN, ORIGINALS, FEWER)
"""What becomes of the verbose traces."""

DEFAULT_ARM: Final = "IGPO"
WHOLE_HINTS: Final = "IGPO, η = 1"
ALL_HINT_TOKENS: Final = "IGPO, τ = 1"
RL_ARMS: Final[Mapping[str, Mapping[str, Any]]] = {
    DEFAULT_ARM: {"algorithm": "IGPO"},
    WHOLE_HINTS: {"algorithm": "IGPO", "hints": {"injectionRatio": {"min": 1.0, "max": 1.0}}},
    ALL_HINT_TOKENS: {"algorithm": "IGPO", "hints": {"entropyKeepRatio": 1.0}},
    "Resample": {"algorithm": "Resample"},
    "GRPO": {"algorithm": "GRPO"},
}
"""Fields in which RL arms differ."""
FIRST_ONLY: Final = (WHOLE_HINTS, ALL_HINT_TOKENS)
"""Arms that start from the first SFT arm alone: they ask about hints, not about traces."""
SHORT: Final = {
    FEWER: "tokens",
    WHOLE_HINTS: "eta1",
    ALL_HINT_TOKENS: "tau1",
}
"""Arms in the names of runs, where not the arm itself in lower case."""


@dataclass(frozen=True)
class Settings:
    """What the command line says about the runs."""

    manifest: Path
    problems: int
    samples: int
    every_steps: int
    context_tokens: int
    teacher_url: str
    sft_arms: Sequence[str]
    rl_arms: Sequence[str]
    rl_seeds: int

    def arms_from(self, sft_arm: str) -> list[str]:
        """The RL arms that start from an SFT arm."""
        return [arm for arm in self.rl_arms if sft_arm == self.sft_arms[0] or arm not in FIRST_ONLY]


@dataclass(frozen=True)
class RlPlan:
    """The RL runs from one SFT checkpoint with one RL seed, by arm."""

    seed: int
    rl_seed: int
    sft_arm: str
    job: Job
    arms: Mapping[str, Document]

    @property
    def label(self) -> str:
        """Its seed or seeds."""
        return str(self.seed) if self.rl_seed == self.seed else f"{self.seed}, RL {self.rl_seed}"


@dataclass(frozen=True)
class SeedPlan:
    """Everything of one SFT seed: the SFT documents in one job, then RL from each arm's result."""

    seed: int
    sft: Job
    treated: Mapping[str, Sequence[Document]]
    """By SFT arm, the documents that train on the verbose traces, in order."""
    rl: Sequence[RlPlan]

    @property
    def jobs(self) -> list[Job]:
        """SFT and RL."""
        return [self.sft, *(plan.job for plan in self.rl)]


def write_plan(settings: Settings, folder: Path, seed: int) -> SeedPlan:
    """Write the manifests of a seed into `folder`.

    Raises SystemExit when the manifest has no SFT on verbose traces right before RL.
    """
    sft, rl = sft_and_rl(settings.manifest)
    treated = [d for d in sft if d.spec.dataset.word_problems and d.spec.dataset.word_problems.style == "Verbose"]
    if not treated or sft[-len(treated) :] != treated:
        raise SystemExit(
            f"{settings.manifest}: {len(treated)} SFT documents have wordProblems.style Verbose; give at least one, "
            "and put those last, before IGPOTraining"
        )
    raws = [_measured(for_seed(d, seed), settings) for d in sft[: -len(treated)]]
    names: dict[str, list[str]] = {}
    for arm in settings.sft_arms:
        mine = [_treated(d, arm, settings, seed) for d in treated]
        for before, after in pairwise(mine):
            after["spec"]["model"]["from"]["name"] = before["metadata"]["name"]
        names[arm] = [raw["metadata"]["name"] for raw in mine]
        raws += mine
    job = write_job("SFT", seed, folder, raws)
    by_name = {document.name: document for document in job.documents}
    plans = [
        _rl_plan(rl, settings, folder, seed, rl_seed, arm, names[arm][-1], job.title)
        for rl_seed in (seed + 100 * index for index in range(settings.rl_seeds))
        for arm in settings.sft_arms
    ]
    return SeedPlan(seed, job, {arm: [by_name[name] for name in names[arm]] for arm in names}, plans)


def _treated(document: Document, arm: str, settings: Settings, seed: int) -> dict[str, Any]:
    raw = _measured(for_seed(document, seed), settings)
    raw["metadata"]["name"] = f"{document.name}-{_short(arm)}-seed{seed}"
    spec = raw["spec"]
    if arm == REWRITTEN:
        spec["rewrite"] = {"teacher": {"baseUrl": settings.teacher_url, "model": "short"}}
        return raw
    spec["length"] = spec["length"] | {"originals": "Context", "contextTokens": settings.context_tokens}
    if arm == FEWER:
        assert isinstance(document.spec, LengthAlignedSFTSpec)
        aligned, longer = rows_network_tokens(document.spec, settings.context_tokens, seed)
        spec["training"]["steps"] = max(1, round(spec["training"]["steps"] * aligned / longer))
    return raw


def _rl_plan(
    rl: Document, settings: Settings, folder: Path, seed: int, rl_seed: int, sft_arm: str, origin: str, after: str
) -> RlPlan:
    raws = {}
    suffix = f"seed{seed}" if rl_seed == seed else f"seed{seed}-rl{rl_seed}"
    for arm in settings.arms_from(sft_arm):
        raw = _measured(for_seed(rl, rl_seed), settings, every_steps=settings.every_steps)
        raw["metadata"]["name"] = f"{rl.name}-{_short(sft_arm)}-{_short(arm)}-{suffix}"
        raw["spec"]["model"]["from"]["name"] = origin
        fields = RL_ARMS[arm]
        raw["spec"] |= {**fields, "hints": raw["spec"].get("hints", {}) | fields.get("hints", {})}
        raws[arm] = raw
    title = f"RL {_short(sft_arm)}" + ("" if rl_seed == seed else f" rl{rl_seed}")
    job = write_job(title, seed, folder, list(raws.values()), after=after)
    return RlPlan(seed, rl_seed, sft_arm, job, dict(zip(raws, job.documents, strict=True)))


def _measured(raw: dict[str, Any], settings: Settings, *, every_steps: int = 0) -> dict[str, Any]:
    measure(raw, problems=settings.problems, samples=settings.samples, temperature=1.0, every_steps=every_steps)
    return raw


def _short(arm: str) -> str:
    return SHORT.get(arm, arm.lower())
