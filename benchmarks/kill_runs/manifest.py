"""What is run: a tiny model that learns to repeat a number, by SFT once and then by IGPO with every phase in use."""

import json
from pathlib import Path
from typing import Any

from igpo_trainer.spec.yaml_document import write_document

NAMES = ("tom", "ben", "max", "leo", "eva", "mia")
THINGS = ("apples", "coins", "books", "pens", "cards", "shells")
CANVAS = {"completionLength": 12, "steps": 6, "blockLength": 6}
SCRATCH = {"hiddenSize": 32, "layers": 1, "heads": 2, "intermediateSize": 64, "maxPositions": 48}
RUN = ("IGPOTraining", "killed")
NEVER_SECONDS = 600.0
"""The judge's deadline: a verdict must never depend on how busy the machine is."""


def write_manifests(folder: Path, steps: int) -> tuple[Path, Path, Path]:
    """Write the data set and the manifests of the SFT run, of IGPO with a custom reward, and of IGPO without.

    A custom reward starts a verifier process each time, which is most of what a start takes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "rows.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in _rows()))
    data = {"source": str(source), "holdout": {"rows": 6}, "maxPromptTokens": 20}
    specs = {"base": _sft(data), "rewarded": _igpo(data, steps), "plain": _igpo(data, steps)}
    specs["rewarded"]["rewards"] = {"custom": {"kill_runs.reward:brevity": 0.1}}
    paths = []
    for name, spec in specs.items():
        paths.append(folder / f"{name}.yaml")
        kind = ("LengthAlignedSFT", "base") if name == "base" else RUN
        paths[-1].write_text(write_document(_document(*kind, spec)))
    return paths[0], paths[1], paths[2]


def _rows() -> list[dict[str, str]]:
    return [
        {
            "question": f"{name} has {a} {thing} . how many {thing} has {name} ?",
            "answer": f"{a} + 0 = {a} \\boxed{{ {a} }}",
        }
        for name in NAMES
        for thing in THINGS
        for a in (2, 3)
    ]


def _document(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "igpo.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def _sft(data: dict[str, Any]) -> dict[str, Any]:
    return {
        "model": {"scratch": SCRATCH, "precision": "FP32"},
        "dataset": data,
        "length": {"target": 12},
        "training": {"steps": 40, "batchSize": 16},
        "sampling": CANVAS,
        "optimizer": {"learningRate": 1e-2, "warmupUpdates": 0, "schedule": "Constant", "maxGradNorm": 1.0},
        "evaluation": {"everySteps": 0},
        "checkpoints": {"everySteps": 40},
    }


def _igpo(data: dict[str, Any], steps: int) -> dict[str, Any]:
    return {
        "model": {"from": {"name": "base", "checkpoint": "Final"}, "precision": "FP32"},
        "dataset": data,
        "groupSize": 4,
        "promptsPerStep": 4,
        "steps": steps,
        "sampling": {**CANVAS, "temperature": 1.0},
        "hints": {"chunkTokens": {"min": 1, "max": 2}},
        "objective": {"innerUpdates": 3, "klCoefficient": 0.01},
        "batching": {"updateGroups": 2, "rolloutRows": 8},
        "optimizer": {"learningRate": 1e-3, "warmupUpdates": 0, "schedule": "Constant"},
        "evaluation": {"everySteps": 2, "datasets": [{"source": "holdout"}, {"source": "holdout", "samples": 2}]},
        "checkpoints": {"everySteps": 2, "keepLast": 2, "keepBest": 1},
        "judge": {"deadlineSeconds": NEVER_SECONDS, "processes": 1},
    }
