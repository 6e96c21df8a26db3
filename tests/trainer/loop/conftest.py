"""Real runs of a tiny model on the built-in task: documents from YAML text, trained through `train`."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from ruamel.yaml import YAML

from igpo_trainer.loop.cycle import CycleScorer
from igpo_trainer.loop.igpo import IGPOLoop
from igpo_trainer.loop.position import Position
from igpo_trainer.loop.ranks import Ranks
from igpo_trainer.loop.session import Session
from igpo_trainer.loop.setup import RunPlace, open_session
from igpo_trainer.loop.stop import StopSignal
from igpo_trainer.loop.train import train
from igpo_trainer.observe.console import Mode
from igpo_trainer.spec.document import Document
from igpo_trainer.spec.manifest import load_manifest

SCRATCH = {"hiddenSize": 32, "layers": 1, "heads": 2, "intermediateSize": 64, "maxPositions": 64}
DATASET = {
    "source": "builtin:word-problems",
    "holdout": {"rows": 8},
    "maxPromptTokens": 40,
    "wordProblems": {"rows": 60, "difficulties": [{"steps": 1, "share": 0.5}, {"steps": 2, "share": 0.5}]},
}
SAMPLING = {"completionLength": 16, "steps": 4, "blockLength": 8}
OPTIMIZER = {"learningRate": 1.0e-3, "warmupUpdates": 0, "maxGradNorm": 1.0}


def merged(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """`base` with `change` laid over it, level by level; None removes a field."""
    result = dict(base)
    for key, value in change.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        result[key] = merged(base[key], value) if both else value
    return {key: value for key, value in result.items() if value is not None}


def sft(name: str = "base", **change: Any) -> dict[str, Any]:
    """A LengthAlignedSFT document as data."""
    spec = {
        "model": {"scratch": SCRATCH, "precision": "FP32"},
        "dataset": DATASET,
        "length": {"target": 16},
        "training": {"steps": 3, "batchSize": 8},
        "sampling": SAMPLING,
        "optimizer": OPTIMIZER,
        "evaluation": {"everySteps": 0},
        "checkpoints": {"everySteps": 1},
    }
    return _document("LengthAlignedSFT", name, merged(spec, change))


def context(name: str = "context", **change: Any) -> dict[str, Any]:
    """A LengthAlignedSFT document whose traces of 3 and 4 steps do not fit length.target, those of 3 its context."""
    steps = [{"steps": number, "share": 0.25} for number in (1, 2, 3, 4)]
    mixed = {"dataset": {"wordProblems": {"difficulties": steps}}, "length": {"originals": "Context"}}
    return sft(name, **merged(merged(mixed, {"length": {"contextTokens": 20}}), change))


def igpo(name: str = "rl", **change: Any) -> dict[str, Any]:
    """An IGPOTraining document as data; it starts from the SFT run `base` unless told otherwise."""
    spec = {
        "model": {"from": {"kind": "LengthAlignedSFT", "name": "base", "checkpoint": "Final"}, "precision": "FP32"},
        "dataset": DATASET,
        "groupSize": 4,
        "promptsPerStep": 6,
        "steps": 2,
        "sampling": SAMPLING | {"temperature": 1.0},
        "hints": {"chunkTokens": {"min": 1, "max": 2}, "injectionRatio": {"min": 0.5, "max": 1.0}},
        "objective": {"innerUpdates": 2, "klCoefficient": 0.01},
        "optimizer": OPTIMIZER,
        "evaluation": {"everySteps": 1},
        "checkpoints": {"everySteps": 1},
        "seed": 4,
    }
    return _document("IGPOTraining", name, merged(spec, change))


def _document(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "igpo.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def load(folder: Path, *documents: dict[str, Any]) -> list[Document]:
    """The documents as `igpo run` reads them: written to a file as YAML and loaded."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "manifest.yaml"
    with path.open("w") as file:
        YAML().dump_all(documents, file)
    return load_manifest(path)


def lines(run_dir: Path, *, timed: bool = False) -> list[dict[str, Any]]:
    """The journal, without what wall-clock and machine put into it unless `timed`."""
    read = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return read if timed else [{k: v for k, v in record.items() if k != "time"} for record in read]


def events(run_dir: Path, event: str) -> list[dict[str, Any]]:
    """The journal's records of one kind."""
    return [record for record in lines(run_dir) if record["event"] == event]


class Desk:
    """A runs folder. The base model, trained once for all tests, is what `model.from` finds."""

    sft = staticmethod(sft)
    context = staticmethod(context)
    igpo = staticmethod(igpo)
    load = staticmethod(load)
    lines = staticmethod(lines)
    events = staticmethod(events)

    def __init__(self, root: Path, bases: Path) -> None:
        self.root = root
        self._bases = bases

    def place(self) -> RunPlace:
        return RunPlace(root=self.root, from_root=self._bases, metrics_port=0, mode=Mode.QUIET)

    def train(self, document: dict[str, Any], stop: Any = None, position: Position | None = None) -> Path:
        """Train a document to its end; its folder."""
        (loaded,) = load(self.root, document)
        train(loaded, self.place(), Ranks(), stop or StopSignal(), position)
        return self.root / loaded.kind / loaded.name

    @contextmanager
    def session(self, document: dict[str, Any]) -> Iterator[Session]:
        """An open session of a document."""
        (loaded,) = load(self.root, document)
        session = open_session(loaded, self.place(), Ranks(), StopSignal(), Position())
        try:
            yield session
        finally:
            session.close()

    @contextmanager
    def loop(self, document: dict[str, Any]) -> Iterator[IGPOLoop]:
        """An IGPO loop on an open session."""
        with self.session(document) as session:
            yield IGPOLoop(session, session.spec)


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A runs folder with the SFT run `base`: about one sample in ten is right, two groups in three are all wrong."""
    root = tmp_path_factory.mktemp("bases")
    optimizer = {"learningRate": 5.0e-3, "warmupUpdates": 10, "schedule": "Cosine"}
    document = sft(
        training={"steps": 400, "batchSize": 32},
        optimizer=optimizer,
        dataset={"wordProblems": {"rows": 400}},
        checkpoints={"everySteps": 1000},
    )
    Desk(root, root).train(document)
    return root


@pytest.fixture
def desk(tmp_path: Path, bases: Path) -> Desk:
    return Desk(tmp_path, bases)


@pytest.fixture(autouse=True)
def _global_random_state_is_left_alone() -> Iterator[None]:
    """Nothing in a run may draw from torch's global stream."""
    before = torch.random.get_rng_state()
    yield
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.fixture
def collected() -> Callable[..., tuple[CycleScorer, list[Any]]]:
    """Rollouts of one cycle, rescued and scored, as the loop collects them."""

    def collect(loop: IGPOLoop, cycle: int = 1) -> tuple[CycleScorer, list[Any]]:
        groups, _ = loop.collector.sample(cycle)
        rescued, _ = loop.collector.rescue(groups, cycle)
        scorer = CycleScorer(loop.spec, loop.session.policy, loop.session.data.train, cycle)
        return scorer, scorer.score(rescued)

    return collect
