"""`igpo compare`: two models on the same problems. As README.md tells people to type."""

import json

import pytest


@pytest.fixture
def measured(tools, trained, runs, tmp_path):
    """Folders of two evaluations: of the finished model, and of the one it started from."""
    for name, step in (("end", 40), ("start", 0)):
        options = ("--runs", runs, "--step", step, "--samples", 3, "--temperature", 1.0, "--out", tmp_path / name)
        assert tools.igpo_command("eval", "-f", trained.manifest, *options) == 0
    return tmp_path / "end", tmp_path / "start"


def test_two_models_are_compared_problem_by_problem(tools, measured, capsys):
    capsys.readouterr()
    assert tools.igpo_command("compare", *measured) == 0
    header, row = capsys.readouterr().out.splitlines()
    assert "difference" in header
    assert row.split()[:4] == ["holdout", "6", "3", "1"]
    assert tools.igpo_command("compare", "--json", *measured) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["problems"] == 6
    difference = told["accuracy"]["estimate"]
    assert difference["mean"] == pytest.approx(told["one"]["mean"] - told["other"]["mean"])
    assert difference["low"] <= difference["mean"] <= difference["high"]


def test_a_run_folder_stands_for_its_last_evaluation(tools, trained, capsys):
    folder = trained.runs / "LengthAlignedSFT" / "base"
    assert tools.igpo_command("compare", "--json", folder, folder) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["samples"], told["accuracy"]["estimate"]["mean"], told["accuracy"]["equal"]) == (1, 0.0, 6)


def test_what_shares_no_measurement_is_refused_in_one_line(tools, trained, measured, capsys):
    capsys.readouterr()
    assert tools.igpo_command("compare", measured[0], trained.runs / "LengthAlignedSFT" / "base") == 65
    error = capsys.readouterr().err
    assert error.startswith("igpo: no measurement is in both: one has holdout (3 x T 1), the other holdout (1 x T 0);")
    assert error.count("\n") == 1


def test_a_folder_without_evaluations_is_refused_in_one_line(tools, tmp_path, capsys):
    assert tools.igpo_command("compare", tmp_path, tmp_path) == 64
    error = capsys.readouterr().err
    assert error.startswith(f"igpo: {tmp_path} holds no evaluation; name a run folder")
    assert error.count("\n") == 1
