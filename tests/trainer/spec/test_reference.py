import runpy
import sys
from pathlib import Path

from igpo_trainer.spec.document import KINDS
from igpo_trainer.spec.field_path import models_in
from igpo_trainer.spec.reference import reference

DOCUMENT = Path(__file__).parents[3] / "docs" / "manifest.md"


def paths_of(model, parent):
    for name, field in model.model_fields.items():
        path = f"{parent}.{field.alias or name}"
        yield path
        items = "[]" if str(field.annotation).startswith("tuple[") else ""
        for nested in models_in(field.annotation):
            yield from paths_of(nested, path + items)


def row(text, path):
    [line] = [line for line in text.splitlines() if line.startswith(f"| `{path}` |")]
    return [cell.strip() for cell in line.strip("|").split(" | ")]


def test_the_committed_reference_is_up_to_date():
    assert DOCUMENT.read_text(encoding="utf-8") == reference(), "run `make generate` and commit docs/manifest.md"


def test_every_field_of_both_kinds_has_a_row():
    lines = reference().splitlines()
    for model in KINDS.values():
        for path in paths_of(model, "spec"):
            assert any(line.startswith(f"| `{path}` |") for line in lines), path


def test_a_row_shows_type_default_range_and_meaning():
    text = reference()
    assert row(text, "spec.groupSize")[1:] == [
        "whole number",
        "`8`",
        "≥ 2, ≤ 256",
        "Number G of completions per prompt.",
    ]
    assert row(text, "spec.optimizer.learningRate")[1:4] == ["number", "`5e-07`", "> 0"]
    assert row(text, "spec.batching.rolloutRows")[1:4] == ["`Auto` or whole number", '`"Auto"`', "≥ 1, ≤ 2147483647"]
    assert row(text, "spec.optimizer.betas")[1:4] == ["list of: number", "`[0.9, 0.99]`", "2 items"]
    assert row(text, "spec.dataset.source")[1:4] == ["text", "required", "1–512 characters"]
    assert row(text, "spec.rewards.custom")[1:4] == ["map of: number", "none", "0–16 entries"]
    assert row(text, "spec.model.lora")[1:4] == ["object", "*absent*", "–"]
    assert row(text, "spec.prompt.system")[1:3] == ["text", "empty"]


def test_sft_samples_greedily_and_rl_does_not():
    assert [
        line.split("|")[3].strip() for line in reference().splitlines() if "`spec.sampling.temperature`" in line
    ] == [
        "`0`",
        "`1.2`",
    ]


def test_the_module_writes_the_file_it_is_given(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["reference", str(tmp_path / "manifest.md")])
    monkeypatch.delitem(sys.modules, "igpo_trainer.spec.reference")
    runpy.run_module("igpo_trainer.spec.reference", run_name="__main__")
    assert (tmp_path / "manifest.md").read_text(encoding="utf-8") == reference()
