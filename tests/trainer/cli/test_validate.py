import pytest
import typer
from typer.testing import CliRunner

from igpo_trainer.cli.validate import validate
from igpo_trainer.spec.manifest import ManifestError, load_manifest

MANIFEST = """\
apiVersion: igpo.dev/v1alpha1
kind: IGPOTraining
metadata: {name: b, labels: {a: "yes"}}
spec:
  model: {from: {name: a}}
  dataset: {source: "builtin:word-problems", maxPromptTokens: 64}
  optimizer: {learningRate: 5e-7}
  image: "1.10"
  workers: {env: [{name: X, value: "017"}]}
---
apiVersion: igpo.dev/v1alpha1
kind: LengthAlignedSFT
metadata: {name: a}
spec:
  model: {source: x}
  dataset: {source: "builtin:word-problems"}
  training: {epochs: 1}
status: {phase: Running}
"""


@pytest.fixture
def invoke():
    app = typer.Typer()
    app.command()(validate)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def manifest(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(MANIFEST)
    return path


def test_a_good_manifest_is_one_ok_line_per_document(invoke, manifest):
    result = invoke("-f", manifest)
    assert result.exit_code == 0
    assert result.stdout == f"ok {manifest}:1: IGPOTraining/b\nok {manifest}:11: LengthAlignedSFT/a\n"


def test_resolved_documents_have_every_default_and_load_as_the_same_runs(invoke, manifest, tmp_path):
    result = invoke("--file", manifest, "--resolved")
    assert result.exit_code == 0
    assert "ok" in result.stderr
    resolved = tmp_path / "resolved.yaml"
    resolved.write_text(result.stdout)
    written, read = load_manifest(manifest), load_manifest(resolved)
    assert [document.spec for document in read] == [document.spec for document in written]
    spec = read[0].raw["spec"]
    assert spec["groupSize"] == 8
    assert spec["image"] == "1.10"
    assert spec["workers"] == {"env": [{"name": "X", "value": "017"}], "replicas": 1, "gpusPerWorker": 0}
    assert read[0].raw["metadata"] == {"name": "b", "labels": {"a": "yes"}}
    assert "status" not in read[1].raw


def test_problems_of_all_files_are_reported_together(invoke, manifest, tmp_path):
    bad = tmp_path / "bad.yaml"
    bad.write_text(MANIFEST.replace("5e-7", "-1"))
    result = invoke("-f", bad, "-f", manifest, "-f", tmp_path / "none.yaml")
    assert isinstance(result.exception, ManifestError)
    assert result.exception.exit_code == 64
    assert len(result.exception.problems) == 2
    assert f"{bad}:7: spec.optimizer.learningRate -1 is not above the limit 0.0" in result.exception.problems[0]
    assert "none.yaml: cannot be read" in result.exception.problems[1]
    assert result.stdout.count("ok ") == 2
