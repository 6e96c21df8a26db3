import json

import pytest
import torch
from safetensors import safe_open
from transformers import LlamaForCausalLM

from igpo_trainer.loop.position import Position
from igpo_trainer.spec.errors import InvalidRunError, RunError


def test_a_run_leaves_everything_a_person_needs(desk):
    position = Position()
    folder = desk.train(desk.igpo(), position=position)
    assert {path.name for path in folder.iterdir()} >= {
        "metrics.jsonl",
        "samples.jsonl",
        "summary.json",
        "report.html",
        "checkpoints",
        "final",
        "run.json",
    }
    summary = json.loads((folder / "summary.json").read_text())
    wide = [r for r in desk.events(folder, "evaluation") if r["samples"] == 4]
    assert (summary["steps"], summary["seed"], summary["heldout_problems"]) == (2, 4, 8)
    assert (summary["all_wrong_start"], summary["all_wrong_end"]) == (wide[0]["all_wrong"], wide[-1]["all_wrong"])
    assert summary["rescued_groups"] == sum(r["rescue"]["rescued"] for r in desk.events(folder, "step")) > 0
    assert (position.step, position.checkpoint) == (2, "step-00000002")
    marker = json.loads((folder / "checkpoints" / "step-00000002" / "complete").read_text())
    assert position.latest.digest == marker["digest"]
    assert position.best.step in {1, 2}


def test_final_loads_with_from_pretrained_and_holds_the_trained_weights(desk):
    folder = desk.train(desk.igpo())
    model = LlamaForCausalLM.from_pretrained(folder / "final")
    assert model.config.is_causal is False
    stored = {name.removeprefix("lm."): p for name, p in _weights(folder / "checkpoints" / "step-00000002").items()}
    assert dict(model.named_parameters()).keys() == stored.keys()
    assert all(torch.equal(parameter, stored[name]) for name, parameter in model.named_parameters())


def test_the_journal_tells_the_run_in_order(desk):
    folder = desk.train(desk.igpo())
    told = [(r["event"], r["step"]) for r in desk.lines(folder)]
    assert told == [
        ("start", 0),
        ("data", 0),
        ("evaluation", 0),
        ("evaluation", 0),
        ("step", 1),
        ("evaluation", 1),
        ("checkpoint", 1),
        ("step", 2),
        ("evaluation", 2),
        ("evaluation", 2),
        ("checkpoint", 2),
        ("end", 2),
    ]


def test_a_finished_run_called_again_changes_nothing(desk):
    folder = desk.train(desk.igpo(steps=1))
    before, weights = desk.lines(folder), (folder / "final" / "model.safetensors").read_bytes()
    desk.train(desk.igpo(steps=1))
    assert desk.lines(folder) == before
    assert (folder / "final" / "model.safetensors").read_bytes() == weights


def test_a_folder_with_a_run_of_another_spec_is_refused(desk):
    folder = desk.train(desk.sft())
    before = (folder / "metrics.jsonl").read_bytes()
    with pytest.raises(InvalidRunError, match="holds another run") as caught:
        desk.train(desk.sft(optimizer={"learningRate": 2.0e-3}))
    assert caught.value.exit_code == 64
    assert (folder / "metrics.jsonl").read_bytes() == before


def test_a_changed_batching_is_accepted_on_resume(desk):
    folder = desk.train(desk.sft())
    desk.train(desk.sft(batching={"rolloutRows": 3, "updateGroups": 2}))
    assert json.loads((folder / "run.json").read_text())["attempt"] == 2
    assert [r["step"] for r in desk.events(folder, "sft_step")] == [1, 2, 3]


def test_best_is_published_when_an_earlier_checkpoint_scored_higher(desk):
    # The warm-up climbs to a rate that ruins the model, so that its first checkpoint is the best.
    position = Position()
    folder = desk.train(
        desk.sft(
            "ruined",
            model={"scratch": None, "from": {"kind": "LengthAlignedSFT", "name": "base", "checkpoint": "Final"}},
            optimizer={"learningRate": 1.0, "warmupUpdates": 1000, "weightDecay": 100.0},
            training={"steps": 4},
            dataset={"holdout": {"rows": 40}},
            evaluation={"everySteps": 1, "datasets": [{"source": "holdout", "samples": 4, "temperature": 1.0}]},
            checkpoints={"keepLast": 1, "keepBest": 1},
        ),
        position=position,
    )
    scores = {r["step"]: r["accuracy"] for r in desk.events(folder, "evaluation")}
    best = max(scores, key=lambda step: (scores[step], step))
    assert best < 4, scores
    assert json.loads((folder / "summary.json").read_text())["accuracy_best"] == scores[best]
    stored = _weights(folder / "checkpoints" / f"step-{best:08d}")
    published = LlamaForCausalLM.from_pretrained(folder / "best")
    assert all(torch.equal(parameter, stored[f"lm.{name}"]) for name, parameter in published.named_parameters())
    assert (position.best.step, position.latest.step) == (best, 4)
    marks = {r["step"]: r["best"] for r in desk.events(folder, "checkpoint")}
    assert marks[best]
    assert not marks[4]


def test_without_a_better_earlier_checkpoint_there_is_no_best_folder(desk):
    assert not (desk.train(desk.sft()) / "best").exists()


def test_a_summary_and_a_report_are_left_when_a_run_fails(desk):
    with pytest.raises(RunError, match=r"step 2: loss .* is not finite"):
        desk.train(desk.sft(optimizer={"learningRate": 1.0e30, "schedule": "Constant"}))
    folder = desk.root / "LengthAlignedSFT" / "base"
    assert json.loads((folder / "summary.json").read_text())["steps"] == 1
    assert (folder / "report.html").is_file()


def _weights(folder):
    with safe_open(folder / "weights.safetensors", "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
