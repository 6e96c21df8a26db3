"""A half-finished cycle on disk: rollouts with verdicts, the old policy's scores, and how many updates are done."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter
from safetensors.torch import load_file

from igpo_trainer.igpo.rollout import Group
from igpo_trainer.loop.cycle import ScoredGroup
from igpo_trainer.loop.update import UpdateResult
from igpo_trainer.models.tensor_file import write_tensors
from igpo_trainer.observe.records import StepRecord
from igpo_trainer.observe.samples import SampleRecord

CYCLE_FILE = "cycle.json"
SCORES_FILE = "cycle.safetensors"

_GROUPS = TypeAdapter(list[Group])
_RESULTS = TypeAdapter(list[UpdateResult])


@dataclass(slots=True)
class OpenCycle:
    """A cycle whose rollouts are collected and whose μ updates are not all done."""

    number: int
    scored: list[ScoredGroup]
    draft: StepRecord
    """The step's record without the statistics of its updates."""
    samples: list[SampleRecord] = field(default_factory=list)
    """Rollouts for people to read, written when the cycle is finished."""
    results: list[UpdateResult] = field(default_factory=list)
    """Of the updates done so far."""

    @property
    def inner(self) -> int:
        """Updates done."""
        return len(self.results)

    def save(self, folder: Path) -> None:
        """Write the cycle into a checkpoint folder."""
        text = {
            "number": self.number,
            "groups": _GROUPS.dump_python([s.group for s in self.scored], mode="json"),
            "advantages": [s.advantages for s in self.scored],
            "entropyHint": [s.entropy_hint for s in self.scored],
            "entropyGenerated": [s.entropy_generated for s in self.scored],
            "draft": self.draft.model_dump(mode="json"),
            "samples": [sample.model_dump(mode="json") for sample in self.samples],
            "results": _RESULTS.dump_python(self.results, mode="json"),
        }
        (folder / CYCLE_FILE).write_text(json.dumps(text), encoding="utf-8")
        tensors = {}
        for n, scored in enumerate(self.scored):
            tensors[f"old/{n}"], tensors[f"kept/{n}"] = scored.old_RGL, scored.kept_GL
            if scored.reference_RGL is not None:
                tensors[f"reference/{n}"] = scored.reference_RGL
        write_tensors(folder / SCORES_FILE, tensors)

    @classmethod
    def load(cls, folder: Path) -> "OpenCycle | None":
        """The open cycle of a checkpoint; None when the checkpoint lies between cycles."""
        path = folder / CYCLE_FILE
        if not path.exists():
            return None
        text = json.loads(path.read_text(encoding="utf-8"))
        tensors = load_file(folder / SCORES_FILE)
        groups = _GROUPS.validate_python(text["groups"], strict=False)
        scored = [
            ScoredGroup(
                group,
                tuple(text["advantages"][n]),
                tensors[f"old/{n}"],
                tensors.get(f"reference/{n}"),
                tensors[f"kept/{n}"],
                tuple(text["entropyHint"][n]),
                tuple(text["entropyGenerated"][n]),
            )
            for n, group in enumerate(groups)
        ]
        results = _RESULTS.validate_python(text["results"])
        samples = [SampleRecord.model_validate(sample) for sample in text["samples"]]
        return cls(text["number"], scored, StepRecord.model_validate(text["draft"]), samples, results)
