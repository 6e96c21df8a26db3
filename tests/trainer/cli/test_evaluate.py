"""`igpo eval`: the loop's own measure, for a model that is there."""

import json
import shutil

import pytest


@pytest.fixture
def evaluated(tools, trained, runs, capsys):
    """Runs `igpo eval` on base's manifest; exit code and output."""

    def run(*options, runs=runs):
        code = tools.igpo_command("eval", "-f", trained.manifest, "--runs", runs, *options)
        return code, capsys.readouterr()

    return run


def test_a_finished_run_is_measured_as_its_own_last_evaluation_was(tools, trained, evaluated):
    code, output = evaluated("--json")
    assert code == 0
    assert output.err == ""
    (measured,) = [json.loads(line) for line in output.out.splitlines()]
    (recorded,) = [
        line for line in tools.journal(trained.runs / "LengthAlignedSFT" / "base") if line["event"] == "evaluation"
    ]
    del measured["time"]
    assert measured | {"step": 0} == recorded | {"step": 0}


def test_the_table_has_a_row_a_data_set(evaluated):
    code, output = evaluated()
    assert code == 0
    header, row = output.out.splitlines()
    assert header.split()[:3] == ["data", "set", "problems"]
    assert row.split()[:4] == ["holdout", "6", "1", "0"]


def test_samples_and_temperature_may_differ_from_the_manifest(evaluated):
    code, output = evaluated("--json", "--samples", "4", "--temperature", "1.0")
    assert code == 0
    record = json.loads(output.out)
    assert (record["samples"], record["temperature"]) == (4, 1.0)
    assert record["pass_at_k"] == pytest.approx(1 - record["all_wrong"])


def test_a_model_folder_may_be_named(evaluated, runs, tmp_path):
    model = shutil.move(runs / "LengthAlignedSFT" / "base" / "final", tmp_path / "model")
    assert evaluated("--model", model)[0] == 0


def test_evaluation_changes_no_file(evaluated, runs):
    before = {path: path.read_bytes() for path in runs.rglob("*") if path.is_file()}
    assert evaluated()[0] == 0
    assert {path: path.read_bytes() for path in runs.rglob("*") if path.is_file()} == before


def test_a_run_that_was_never_trained_is_refused(evaluated, tmp_path):
    code, output = evaluated(runs=tmp_path / "none")
    assert code == 64
    folder = tmp_path / "none" / "LengthAlignedSFT" / "base"
    assert output.err == (f"igpo: {folder}: no finished model; run the manifest first, or name a folder with --model\n")


def test_a_document_that_is_not_in_the_manifest_is_refused_with_those_that_are(evaluated, trained):
    code, output = evaluated("--run", "IGPOTraining/none")
    assert code == 64
    assert output.err == (f"igpo: {trained.manifest}: no document IGPOTraining/none; it holds LengthAlignedSFT/base\n")
