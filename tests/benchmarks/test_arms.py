import re
import sys
from pathlib import Path

import arms
import pytest

from igpo_trainer.observe.journal import read_metrics
from igpo_trainer.observe.records import EvaluationRecord

MANIFEST = Path(__file__).parent / "tiny-arms.yaml"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Call arms.main with the folders of this test."""

    def call(manifest):
        options = ["--out", tmp_path / "runs", "--results", tmp_path / "page.md", "--manifest", manifest]
        options += ["--seeds", "5", "--problems", "12", "--samples", "4"]
        monkeypatch.setattr(sys, "argv", ["arms.py", *map(str, options)])
        return arms.main()

    return call


@pytest.mark.timeout(300)
def test_every_arm_is_run_from_one_sft_checkpoint_and_a_second_call_only_writes_the_page(tmp_path, run, capsys):
    code, told = run(MANIFEST), capsys.readouterr().out
    page = (tmp_path / "page.md").read_text()
    chart = (tmp_path / "images" / "arms.svg").read_text()

    # An untrained model solves nothing, so the promises are broken, and that is said and returned.
    assert code == 1
    assert told.count("**FAIL**") == 2
    assert page.count("**FAIL**") == 2
    assert "12 of 2 structures are held out; 0 prompts and 0 structures in both" in page
    for arm in ("IGPO", "Resample", "GRPO"):
        (row,) = re.findall(rf"^\| 5 \| {arm} \|.*$", page, re.MULTILINE)
        run_dir = tmp_path / "runs" / "IGPOTraining" / f"tiny-{arm.lower()}-seed5"
        measured = [r for r in read_metrics(run_dir) if isinstance(r, EvaluationRecord)]
        assert [(r.step, r.samples, r.problems) for r in measured] == [(0, 1, 12), (0, 4, 12), (2, 1, 12), (2, 4, 12)]
        for record in measured:
            assert sum(record.right) / (12 * record.samples) == pytest.approx(record.accuracy)
            assert f"{100 * record.accuracy:.1f} % [{100 * record.interval_low:.1f}" in row
    assert (tmp_path / "runs" / "LengthAlignedSFT" / "tiny-seed5" / "final" / "config.json").is_file()

    run(MANIFEST)
    told = capsys.readouterr().out
    assert told.count("finished before, left alone") == 4
    assert "started" not in told
    assert (tmp_path / "page.md").read_text() == page
    assert (tmp_path / "images" / "arms.svg").read_text() == chart


def test_a_run_that_fails_is_named_with_its_reason_and_no_page_is_written(tmp_path, run):
    broken = tmp_path / "broken.yaml"
    broken.write_text(MANIFEST.read_text().replace("  length: {target: 24}", "  length: {target: 24}\n  suspend: true"))
    with pytest.raises(SystemExit, match=r"SFT seed 5: igpo run ended with 64: igpo: .*spec\.suspend is true"):
        run(broken)
    assert not (tmp_path / "page.md").exists()
