"""examples/length-aligned.yaml in small, by `igpo run`: verbose traces, a teacher over HTTP, SFT, IGPO, evaluation.

Runs what README.md and docs/rewrite.md tell people to type.
"""

import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from igpo_teacher.faults import Faults
from igpo_teacher.server import TeacherServer

EXAMPLE = Path(__file__).parents[3] / "examples" / "length-aligned.yaml"
TRACES = 60
SMALL = {
    "model": {"scratch": {"hiddenSize": 32, "layers": 1, "heads": 2, "intermediateSize": 64}},
    "dataset": {"holdout": {"rows": 8}, "wordProblems": {"rows": TRACES}},
    "sampling": {"steps": 6},
    "training": {"steps": 6, "batchSize": 8},
    "evaluation": {"everySteps": 3},
    "checkpoints": {"everySteps": 3},
    "rewrite": {"concurrency": 8},
    "steps": 4,
    "groupSize": 4,
    "promptsPerStep": 2,
}


@pytest.fixture
def teacher():
    with TeacherServer(faults=Faults(wrong=0.2)) as server:
        yield server


def shrunk(spec, changes):
    """A spec with the changes to what it has."""
    return {
        key: shrunk(value, changes[key]) if isinstance(value, dict) and key in changes else changes.get(key, value)
        for key, value in spec.items()
    }


@pytest.fixture
def options(tools, teacher, tmp_path):
    documents = list(YAML(typ="safe", pure=True).load_all(EXAMPLE))
    for document in documents:
        document["spec"] = shrunk(document["spec"], SMALL)
        if "rewrite" in document["spec"]:
            document["spec"]["rewrite"]["teacher"]["baseUrl"] = teacher.base_url
    manifest = tools.write_manifest(tmp_path / "run.yaml", *documents)
    return ["-f", manifest, "--runs", tmp_path / "runs", *tools.PORT]


def of_event(journal, event):
    return [line for line in journal if line["event"] == event]


def test_one_command_rewrites_aligns_reinforces_and_measures(tools, teacher, options, tmp_path, capsys):
    assert tools.igpo_command("run", *options) == 0
    sft, rl = (tmp_path / "runs" / kind / "length-aligned" for kind in ("LengthAlignedSFT", "IGPOTraining"))
    wrong = sum(teacher.faults.of(problem, 1) == "wrong" for problem in teacher.asked)
    assert 0 < wrong < TRACES
    assert (len(teacher.asked), teacher.asked.total()) == (TRACES, TRACES)

    journal = tools.journal(sft)
    [told], [data] = of_event(journal, "rewrite"), of_event(journal, "data")
    assert (told["rows"], told["kept"], told["dropped"]) == (
        TRACES, TRACES - wrong, {"rewrite with a wrong answer": wrong}
    )  # fmt: skip
    assert max(map(int, told["original_lengths"])) > 24 >= max(map(int, told["kept_lengths"]))
    assert data["rewritten"] == data["problems"] == TRACES - wrong
    assert len(of_event(journal, "sft_step")) == 6
    assert [(line["step"], line["dataset"]) for line in of_event(journal, "evaluation")] == [
        (3, "holdout"), (6, "holdout")
    ]  # fmt: skip

    journal = tools.journal(rl)
    assert len(of_event(journal, "step")) == 4
    inside = {(line["step"], line["dataset"], line["samples"]): line for line in of_event(journal, "evaluation")}
    assert set(inside) >= {
        (step, *measured) for step in (0, 3, 4) for measured in (("holdout", 1), ("builtin:word-problems", 8))
    }
    for run_dir in (sft, rl):
        assert (run_dir / "final" / "model.safetensors").is_file()
        assert (run_dir / "report.html").is_file()
    output = capsys.readouterr().out.splitlines()
    assert any(line.startswith("LengthAlignedSFT/length-aligned: rewrite ") for line in output)
    assert output[-1].startswith("IGPOTraining/length-aligned: 4 steps in ")

    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*") if path.is_file()}
    teacher.faults = Faults(refused=1.0)
    assert tools.igpo_command("run", *options) == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*") if path.is_file()} == written
    assert teacher.asked.total() == TRACES
    output = capsys.readouterr().out.splitlines()
    assert [line.split(": ", 1)[1].split(",")[0] for line in output] == ["finished before"] * 3

    assert tools.igpo_command("eval", *options[:4], "--json") == 0
    measured = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["samples"] for line in measured] == [1, 8]
    for line in measured:
        same = inside[4, line["dataset"], line["samples"]]
        assert (line["accuracy"], line["pass_at_k"]) == (same["accuracy"], same["pass_at_k"])
