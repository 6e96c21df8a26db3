"""`igpo run` in this process, on a manifest that trains in a second."""

import json
import os
import shutil
import signal

import pytest
from transformers import AutoTokenizer, LlamaForCausalLM

from igpo_trainer.loop.igpo import IGPOLoop
from igpo_trainer.spec.errors import RunError


@pytest.fixture
def command(tools, runs, tmp_path):
    """Writes documents into a manifest and runs it; the exit code."""

    def run(*documents, options=()):
        manifest = tools.write_manifest(tmp_path / "run.yaml", *documents)
        return tools.igpo_command("run", "-f", manifest, "--runs", runs, *tools.PORT, *options)

    return run


def test_a_manifest_trains_in_dependency_order_whatever_the_order_in_the_file(tools, trained, tmp_path, capsys):
    manifest = tools.write_manifest(
        tmp_path / "run.yaml", tools.igpo(trained.source, steps=2), tools.sft(trained.source)
    )
    runs = tmp_path / "runs"
    assert tools.igpo_command("run", "-f", manifest, "--runs", runs, *tools.PORT) == 0
    output = capsys.readouterr()
    assert output.err == ""
    assert output.out.index("LengthAlignedSFT/base: 40 steps") < output.out.index("start  IGPOTraining/tiny")
    for run_dir in (runs / "LengthAlignedSFT" / "base", runs / "IGPOTraining" / "tiny"):
        names = {path.name for path in run_dir.iterdir()}
        assert names == {
            "checkpoints",
            "evaluations",
            "final",
            "metrics.jsonl",
            "report.html",
            "run.json",
            "samples.jsonl",
            "summary.json",
        }
        model = LlamaForCausalLM.from_pretrained(run_dir / "final")
        assert model.config.is_causal is False
        assert len(AutoTokenizer.from_pretrained(run_dir / "final")) == model.config.vocab_size
    steps = [line["step"] for line in tools.journal(runs / "IGPOTraining" / "tiny") if line["event"] == "step"]
    assert steps == [1, 2]


def test_the_summary_of_an_igpo_run_has_what_a_reader_looks_for(tools, trained, runs, command):
    assert command(tools.igpo(trained.source, steps=12)) == 0
    run_dir = runs / "IGPOTraining" / "tiny"
    summary = json.loads((run_dir / "summary.json").read_text())
    lines = tools.journal(run_dir)
    steps = [line for line in lines if line["event"] == "step"]
    groups = [line for line in lines if line["event"] == "evaluation" and line["samples"] == 4]
    greedy = [line for line in lines if line["event"] == "evaluation" and line["samples"] == 1]
    assert summary["accuracy_start"] == greedy[0]["accuracy"]
    assert summary["accuracy_end"] == greedy[-1]["accuracy"]
    assert summary["all_wrong_start"] == groups[0]["all_wrong"]
    assert summary["all_wrong_end"] == groups[-1]["all_wrong"]
    assert summary["heldout_problems"] == 6
    assert summary["rescued_groups"] == sum(line["rescue"]["rescued"] for line in steps) > 0
    assert summary["replaced_completions"] == sum(line["replaced"] for line in steps) > 0
    assert summary["steps"] == 12
    assert summary["seconds"] > 0
    assert summary["seed"] == 0


def test_a_finished_run_is_left_alone(tools, trained, runs, capsys):
    run_dir = runs / "LengthAlignedSFT" / "base"
    before = {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()}
    assert tools.igpo_command("run", "-f", trained.manifest, "--runs", runs, *tools.PORT) == 0
    assert capsys.readouterr().out == (
        f"LengthAlignedSFT/base: finished before, left alone; report: {run_dir / 'report.html'}\n"
    )
    assert {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("missing", [True, False], ids=["none", "one of an earlier start"])
def test_a_finished_run_that_was_killed_before_its_report_is_described(tools, trained, runs, missing):
    run_dir = runs / "LengthAlignedSFT" / "base"
    page = run_dir / "summary.json"
    summary = page.read_bytes()
    page.write_text("of an earlier start")
    os.utime(page, (0, 0))
    if missing:
        page.unlink()
    draft = run_dir / ".summary.json.7.tmp"
    draft.write_text("half a summary")
    assert tools.igpo_command("run", "-f", trained.manifest, "--runs", runs, *tools.PORT) == 0
    assert page.read_bytes() == summary
    assert not draft.exists()


def test_a_half_finished_run_continues_as_if_it_had_never_stopped(tools, trained, runs, command, tmp_path, monkeypatch):
    spec = tools.igpo(trained.source, steps=4)
    assert command(spec) == 0
    whole = shutil.move(runs / "IGPOTraining", tmp_path / "whole")
    cycle = IGPOLoop.cycle

    def fails_in_the_fourth(loop, number):
        if number == 4:
            raise RunError("the disk is full")
        cycle(loop, number)

    with monkeypatch.context() as patched:
        patched.setattr(IGPOLoop, "cycle", fails_in_the_fourth)
        assert command(spec) == 1
    half = runs / "IGPOTraining" / "tiny"
    assert json.loads((half / "summary.json").read_text())["steps"] == 3
    assert [path.name for path in (half / "checkpoints").iterdir()] == ["step-00000002"]
    assert command(spec) == 0
    assert tools.journal(half) == tools.journal(tmp_path / "whole" / "tiny")
    assert (half / "final" / "model.safetensors").read_bytes() == (
        whole / "tiny" / "final" / "model.safetensors"
    ).read_bytes()
    assert json.loads((half / "run.json").read_text())["attempt"] == 2


def test_quiet_prints_the_result_and_nothing_else(tools, trained, command, capsys):
    assert command(tools.igpo(trained.source, steps=1), options=["--quiet"]) == 0
    output = capsys.readouterr()
    assert output.err == ""
    (line,) = output.out.splitlines()
    assert line.startswith("IGPOTraining/tiny: 1 steps in ")
    assert "held-out accuracy" in line
    assert "report.html" in line


def test_more_processes_than_gpus_are_wished_for_is_said_and_runs_all_the_same(tools, trained, command, capsys):
    spec = tools.igpo(trained.source, steps=1)
    spec["spec"]["workers"] = {"replicas": 64}
    assert command(spec) == 0
    assert "asks for 64 processes, this machine has" in capsys.readouterr().out


def test_another_spec_under_the_same_name_is_refused_and_the_folder_left_as_it_was(
    tools, trained, runs, command, capsys
):
    spec = tools.sft(trained.source)
    spec["spec"]["training"]["batchSize"] = 8
    before = (runs / "LengthAlignedSFT" / "base" / "run.json").read_bytes()
    assert command(spec) == 64
    assert "the volume holds another run, LengthAlignedSFT/base with spec hash" in capsys.readouterr().err
    assert (runs / "LengthAlignedSFT" / "base" / "run.json").read_bytes() == before


def test_an_interrupt_saves_and_ends_with_75_and_one_line_that_says_how_to_go_on(
    tools, trained, runs, command, capsys, monkeypatch
):
    spec = tools.igpo(trained.source, steps=3)
    cycle = IGPOLoop.cycle

    def interrupted_in_the_second(loop, number):
        if number == 2:
            signal.raise_signal(signal.SIGINT)
        cycle(loop, number)

    with monkeypatch.context() as patched:
        patched.setattr(IGPOLoop, "cycle", interrupted_in_the_second)
        assert command(spec) == 75
    error = capsys.readouterr().err
    assert error == "igpo: told to stop; the state is saved, start the run again to continue\n"
    run_dir = runs / "IGPOTraining" / "tiny"
    assert [path.name for path in (run_dir / "checkpoints").iterdir()] == ["step-00000001"]
    assert command(spec) == 0
    assert json.loads((run_dir / "summary.json").read_text())["steps"] == 3


def test_an_interrupt_before_training_begins_changes_nothing(tools, trained, runs, command, capsys, monkeypatch):
    import igpo_trainer.loop.setup

    load_data = igpo_trainer.loop.setup.load_data

    def interrupted(*arguments, **options):
        signal.raise_signal(signal.SIGINT)
        return load_data(*arguments, **options)

    monkeypatch.setattr(igpo_trainer.loop.setup, "load_data", interrupted)
    assert command(tools.igpo(trained.source)) == 75
    assert "nothing was changed" in capsys.readouterr().err
    assert not (runs / "IGPOTraining").exists()


def test_a_second_interrupt_aborts_at_once_with_130_and_one_line(tools, trained, command, capsys, monkeypatch):
    def impatient(loop, number):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(IGPOLoop, "cycle", impatient)
    assert command(tools.igpo(trained.source)) == 130
    assert capsys.readouterr().err == "igpo: aborted by Ctrl-C; start again to continue from the last checkpoint\n"


def test_an_interrupt_at_the_end_of_one_run_keeps_the_next_from_starting(
    tools, trained, runs, tmp_path, capsys, monkeypatch
):
    publish = IGPOLoop.run

    def interrupted_at_the_end(loop):
        publish(loop)
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(IGPOLoop, "run", interrupted_at_the_end)
    documents = [tools.igpo(trained.source, name, steps=1) for name in ("first", "second")]
    manifest = tools.write_manifest(tmp_path / "run.yaml", *documents)
    assert tools.igpo_command("run", "-f", manifest, "--runs", runs, *tools.PORT) == 75
    output = capsys.readouterr()
    assert output.err == "igpo: told to stop before IGPOTraining/second began; start again to go on with it\n"
    assert "IGPOTraining/first: 1 steps" in output.out
    assert not (runs / "IGPOTraining" / "second").exists()


def test_verbose_traces_are_trained_at_their_own_length_as_well_as_at_the_target(tools, runs, command, capsys):
    steps = [{"steps": number, "share": 0.25} for number in (1, 2, 3, 4)]
    spec = tools.sft("builtin:word-problems", name="originals")
    spec["spec"] |= {
        "dataset": {
            "source": "builtin:word-problems",
            "holdout": {"rows": 6},
            "maxPromptTokens": 40,
            "wordProblems": {"rows": 60, "style": "Verbose", "difficulties": steps},
        },
        "length": {"target": 24, "originals": "Context", "contextTokens": 36},
        "sampling": {"completionLength": 24, "steps": 6, "blockLength": 8},
        "training": {"steps": 6, "batchSize": 8},
    }
    spec["spec"]["model"]["scratch"]["maxPositions"] = 80
    assert command(spec) == 0
    run_dir = runs / "LengthAlignedSFT" / "originals"
    journal = tools.journal(run_dir)
    (data,) = [line for line in journal if line["event"] == "data"]
    counts = {int(length): count for length, count in data["trace_lengths"].items()}
    assert counts.keys() == {14, 23, 32}
    assert data["dropped"] == {"trace longer than length.contextTokens": 60 - sum(counts.values())}
    assert (data["target_length"], data["context_length"]) == (24, 36)
    told = f"canvas 24 tokens | {counts[32]} longer on a canvas of 36 | "
    assert told in capsys.readouterr().out
    assert f"canvas 24 tokens, and 36 tokens for {counts[32]} longer traces;" in (run_dir / "report.html").read_text()
    updates = [line for line in journal if line["event"] == "sft_step"]
    assert len(updates) == 6
    for update in updates:
        target = sum(count * (36 if int(n) > 24 else 24) for n, count in update["example_lengths"].items())
        assert update["tokens"]["target"] == target
    assert (run_dir / "final" / "model.safetensors").is_file()
