import runpy
import sys
from pathlib import Path

from igpo_operator.api.mutability import MUTABLE
from igpo_operator.api.prose import CONDITIONS, PHASES
from igpo_operator.api.reasons import ConditionType, Phase
from igpo_operator.api.reference import reference
from mutants.places import SCHEMAS, rules_below

DOCUMENT = Path(__file__).parents[3] / "docs" / "api.md"


def test_the_committed_reference_is_up_to_date():
    assert DOCUMENT.read_text(encoding="utf-8") == reference(), "run `make generate` and commit docs/api.md"


def test_every_message_phase_condition_and_mutable_field_is_in_it():
    text = reference()
    for schema in SCHEMAS.values():
        for rule in rules_below(schema):
            assert rule["message"].replace("|", "\\|") in text
    assert PHASES.keys() == set(Phase)
    assert CONDITIONS.keys() == set(ConditionType)
    for path in MUTABLE:
        assert f"| `spec.{path}` |" in text


def test_a_row_says_type_default_when_it_may_change_and_meaning():
    text = reference()
    assert "| `spec.runPolicy.backoffLimit` | whole number 0–100 | `3` | any time | Number of charged failures" in text
    assert "| `spec.storage.size` | amount | *absent* | never | Size of the new claim" in text
    assert "| `status.progress.step` | whole number | Last finished step. |" in text


def test_the_module_writes_the_file_it_is_given(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["reference", str(tmp_path / "api.md")])
    monkeypatch.delitem(sys.modules, "igpo_operator.api.reference")
    runpy.run_module("igpo_operator.api.reference", run_name="__main__")
    assert (tmp_path / "api.md").read_text(encoding="utf-8") == reference()
