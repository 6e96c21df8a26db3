"""Manifests of the tests: tiny.yaml, and what a test changes of it."""

import copy
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[3]
TINY = Path(__file__).parents[1] / "tiny.yaml"
DEMO = ROOT / "examples" / "igpo-run.yaml"
ALIGNED = ROOT / "examples" / "length-aligned.yaml"

Manifest = dict[str, Any]
RL = "IGPOTraining"
SFT = "LengthAlignedSFT"
TRACES = 60
"""Rows of `aligned`."""
CONCURRENCY = 8
"""Requests in flight of `aligned`."""


def documents(path: Path) -> list[Manifest]:
    """The documents of a manifest file, as plain data."""
    return [copy.deepcopy(document) for document in _load(path)]


def tiny(kind: str, name: str, **changes: Any) -> Manifest:
    """The tiny manifest's document of `kind` under another name; `changes` are merged into its spec, None removes.

    A chained run keeps `model.from` of the file; a name of its own is given as `model={"from": {"name": …}}`.
    """
    document = next(document for document in documents(TINY) if document["kind"] == kind)
    document["metadata"]["name"] = name
    document["spec"] = merged(document["spec"], changes)
    return document


def aligned(teacher: Manifest, **sft: Any) -> list[Manifest]:
    """The documents of examples/length-aligned.yaml, so small that they take a minute, with `spec.rewrite.teacher`.

    `sft` is merged into the spec of the run that rewrites.
    """
    threads = [{"name": "OMP_NUM_THREADS", "value": "1"}]
    every = {
        "dataset": {"holdout": {"rows": 8}, "wordProblems": {"rows": TRACES}},
        "sampling": {"steps": 6, "blockLength": 12},
        "evaluation": {"everySteps": 0},
        "workers": {"env": threads},
        "storage": {"size": "1Gi"},
    }
    scratch = {"hiddenSize": 32, "layers": 1, "heads": 2, "intermediateSize": 64}
    small: dict[str, Manifest] = {
        SFT: {"training": {"steps": 10, "batchSize": 8}},
        RL: {"steps": 2, "groupSize": 4, "promptsPerStep": 4, "objective": {"innerUpdates": 1}},
    }
    found = documents(ALIGNED)
    for document in found:
        document["spec"] = merged(merged(document["spec"], every), small[document["kind"]])
        if "scratch" in document["spec"]["model"]:
            document["spec"] = merged(document["spec"], {"model": {"scratch": scratch}})
        if "rewrite" in document["spec"]:
            rewrite = {"rewrite": {"teacher": teacher, "concurrency": CONCURRENCY}}
            document["spec"] = merged(merged(document["spec"], rewrite), sft)
    return found


def rewriting(teacher: Manifest, **sft: Any) -> Manifest:
    """Of `aligned` the run that rewrites, alone: it begins with a model from scratch."""
    base, document, _ = aligned(teacher, **sft)
    document["spec"]["model"] = base["spec"]["model"]
    return document


def slow(name: str, steps: int = 16, **changes: Any) -> Manifest:
    """Tiny reinforcement learning from a scratch model, about a second a step: long enough to be hit in the middle."""
    scratch = tiny(SFT, name)["spec"]["model"]["scratch"]
    pace = {
        "model": {"from": None, "scratch": scratch},
        "steps": steps,
        "promptsPerStep": 32,
        "groupSize": 8,
        "sampling": {"steps": 24},
    }
    document = tiny(RL, name, **pace)
    document["spec"] = merged(document["spec"], changes)
    return document


def merged(base: Manifest, changes: Manifest) -> Manifest:
    """`base` with `changes` merged into it, maps key by key; None removes a key."""
    result = dict(base)
    for key, value in changes.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            old = result.get(key)
            result[key] = merged(old if isinstance(old, dict) else {}, value)
        else:
            result[key] = value
    return result


@cache
def _load(path: Path) -> tuple[Manifest, ...]:
    return tuple(YAML(typ="safe", pure=True).load_all(path))
