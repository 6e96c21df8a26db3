"""What training and hold-out have in common."""

from collections.abc import Sequence
from dataclasses import dataclass

from arm_runs.job import Job
from igpo_trainer.data.readers import load_split
from igpo_trainer.data.word_problems import structure
from igpo_trainer.spec.dataset import BUILTIN_WORD_PROBLEMS


@dataclass(frozen=True)
class Overlap:
    """Problems of a seed and what training and hold-out have in common: nothing, or `separate` would have raised."""

    seed: int
    trained: int
    heldout: int
    trained_structures: int
    heldout_structures: int

    def __str__(self) -> str:
        return (
            f"seed {self.seed}: {self.trained:,} prompts of {self.trained_structures} structures are trained on by "
            f"SFT or RL, {self.heldout} of {self.heldout_structures} structures are held out; 0 prompts and 0 "
            "structures in both"
        )


def separate(jobs: Sequence[Job], seed: int) -> Overlap:
    """Prove that no trained problem of any document is held out: neither its prompt nor its structure.

    The last document is the one that is measured.
    """
    documents = [document for job in jobs for document in job.documents]
    foreign = [d for d in documents if d.spec.dataset.source != BUILTIN_WORD_PROBLEMS]
    if foreign:
        raise SystemExit(
            f"{foreign[0].place('spec', 'dataset', 'source')}: only {BUILTIN_WORD_PROBLEMS} has structures by which "
            "overlap is judged; use it in every document"
        )
    different = {(d.spec.seed, d.spec.dataset.model_dump_json(), d.spec.prompt.model_dump_json()): d for d in documents}
    splits = [load_split(d.spec.dataset, d.spec.prompt, seed=d.spec.seed) for d in different.values()]
    trained = {p.prompt for split in splits for p in split.train}
    heldout = {p.prompt for split in splits for p in split.holdout}
    trained_structures = {structure(p) for split in splits for p in split.train}
    heldout_structures = {structure(p) for split in splits for p in split.holdout}
    assert not trained & heldout, f"seed {seed}: prompts both trained on and held out"
    assert not trained_structures & heldout_structures, f"seed {seed}: structures both trained on and held out"
    return Overlap(
        seed, len(trained), documents[-1].spec.dataset.holdout.rows, len(trained_structures), len(heldout_structures)
    )


def overlap_text(found: Sequence[Overlap]) -> str:
    """What separates training and hold-out, checked for every seed."""
    head = "The structure of a problem is its sequence of operations. Checked before the figures were read:"
    return "\n".join([head, "", *(f"- {overlap}" for overlap in found)])
