"""A manifest that trains in a second: a model that learns to repeat the number it is told."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from igpo_trainer.cli.main import main
from igpo_trainer.spec.yaml_document import write_document

NAMES = ("tom", "ben", "max", "leo", "eva", "mia")
THINGS = ("apples", "coins", "books", "pens", "cards", "shells")
CANVAS = {"completionLength": 12, "steps": 6, "blockLength": 6}
PORT = ("--metrics-port", "0")


def problem_rows():
    return [
        {
            "question": f"{name} has {a} {thing} . how many {thing} has {name} ?",
            "answer": f"{a} + 0 = {a} \\boxed{{ {a} }}",
        }
        for name in NAMES
        for thing in THINGS
        for a in (2, 3)
    ]


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def dataset(source):
    return {"source": str(source), "holdout": {"rows": 6}, "maxPromptTokens": 20}


def document(kind, name, spec):
    return {"apiVersion": "igpo.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def sft(source, name="base"):
    return document(
        "LengthAlignedSFT",
        name,
        {
            "model": {
                "scratch": {"hiddenSize": 32, "layers": 1, "heads": 2, "intermediateSize": 64, "maxPositions": 48},
                "precision": "FP32",
            },
            "dataset": dataset(source),
            "length": {"target": 12},
            "training": {"steps": 40, "batchSize": 16},
            "sampling": dict(CANVAS),
            "optimizer": {"learningRate": 1e-2, "warmupUpdates": 0, "schedule": "Constant", "maxGradNorm": 1.0},
            "evaluation": {"everySteps": 0},
            "checkpoints": {"everySteps": 25},
        },
    )


def igpo(source, name="tiny", steps=3):
    return document(
        "IGPOTraining",
        name,
        {
            "model": {"from": {"name": "base", "checkpoint": "Final"}, "precision": "FP32"},
            "dataset": dataset(source),
            "groupSize": 4,
            "promptsPerStep": 2,
            "steps": steps,
            "sampling": {**CANVAS, "temperature": 1.0},
            "hints": {"chunkTokens": {"min": 1, "max": 2}},
            "objective": {"innerUpdates": 2},
            "optimizer": {"learningRate": 1e-3, "warmupUpdates": 0, "schedule": "Constant"},
            "evaluation": {"everySteps": 0},
            "checkpoints": {"everySteps": 2},
        },
    )


def write_manifest(path, *documents):
    path.write_text("".join(f"---\n{write_document(d)}" for d in documents))
    return path


def igpo_command(*arguments):
    """Call the command line as the console script does; its exit code."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return ended.value.code or 0


def journal(run_dir, *, drop=("time",)):
    """Lines of metrics.jsonl without what differs between equal runs."""
    lines = (run_dir / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in drop} for line in lines]


@pytest.fixture(scope="session")
def tools():
    """The functions above, for test modules, which cannot import this file."""
    return SimpleNamespace(**globals())


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A data set and a runs folder with the finished SFT run `base`; copy the folder before writing into it."""
    folder = tmp_path_factory.mktemp("trained")
    source = write_rows(folder / "rows.jsonl", problem_rows())
    manifest = write_manifest(folder / "base.yaml", sft(source))
    assert igpo_command("run", "-f", manifest, "--runs", folder / "runs", "--quiet", *PORT) == 0
    return SimpleNamespace(source=source, manifest=manifest, runs=folder / "runs")


@pytest.fixture
def runs(trained, tmp_path):
    """A runs folder of the test's own that holds `base`."""
    return Path(shutil.copytree(trained.runs, tmp_path / "runs"))
