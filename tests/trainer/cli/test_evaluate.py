"""`igpo eval`: the loop's own measure, for a model that is there. As README.md tells people to type."""

import json
import os
import shutil
import subprocess
import sys

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


def completions(folder):
    """Every file of an evaluation but for wall-clock data, by its place below the folder."""
    lines = {path.relative_to(folder): path.read_text().splitlines() for path in sorted(folder.rglob("*.jsonl"))}
    return {
        path: [{k: v for k, v in json.loads(line).items() if k != "time"} for line in found]
        for path, found in lines.items()
    }


def in_its_own_process(trained, runs, *options):
    """`igpo eval` as a person calls it: with several processes it takes over all children of the process it is in."""
    command = [sys.executable, "-m", "igpo_trainer.cli.main", "eval", "-f", trained.manifest, "--runs", runs, *options]
    return subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def test_two_processes_give_what_one_gives_and_so_does_a_second_time(evaluated, trained, runs, tmp_path):
    options = ("--json", "--samples", 5, "--temperature", 1.0, "--out")
    told = []
    for name in ("one", "again"):
        code, output = evaluated(*options, tmp_path / name)
        assert (code, output.err) == (0, "")
        told.append(json.loads(output.out))
    two = in_its_own_process(trained, runs, *options, tmp_path / "two", "--processes", 2)
    assert (two.returncode, two.stderr) == (0, "")
    told.append(json.loads(two.stdout))
    assert [record.pop("time")["world_size"] for record in told] == [1, 1, 2]
    assert told[0] == told[1] == told[2]
    kept = [completions(tmp_path / name) for name in ("one", "again", "two")]
    assert kept[0] == kept[1] == kept[2]
    ((path, lines),) = kept[0].items()
    assert str(path) == "step-00000000/holdout-5xT1.jsonl"
    assert len(lines) == 1 + 6 * 5


def test_an_error_of_several_processes_is_one_line(trained, runs):
    ended = in_its_own_process(trained, runs, "--step", 7, "--processes", 2)
    assert (ended.returncode, ended.stdout) == (64, "")
    (line,) = ended.stderr.splitlines()
    assert "no checkpoint of step 7; kept are 25, 40: name one of these" in line


def test_a_checkpoint_of_the_run_may_be_named_by_its_step(evaluated, tools, trained):
    code, output = evaluated("--json", "--step", "40")
    assert code == 0
    journal = tools.journal(trained.runs / "LengthAlignedSFT" / "base")
    (recorded,) = [line for line in journal if line["event"] == "evaluation"]
    assert {k: v for k, v in json.loads(output.out).items() if k != "time"} == recorded


def test_a_run_that_was_never_trained_is_refused(evaluated, tmp_path):
    code, output = evaluated(runs=tmp_path / "none")
    assert code == 64
    folder = tmp_path / "none" / "LengthAlignedSFT" / "base"
    assert output.err == (f"igpo: {folder}: no finished model; run the manifest first, or name a folder with --model\n")


def test_a_document_that_is_not_in_the_manifest_is_refused_with_those_that_are(evaluated, trained):
    code, output = evaluated("--run", "IGPOTraining/none")
    assert code == 64
    assert output.err == (f"igpo: {trained.manifest}: no document IGPOTraining/none; it holds LengthAlignedSFT/base\n")
