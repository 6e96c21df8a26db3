"""`igpo report`: the page of a run folder, drawn again."""

import json


def test_report_and_summary_are_drawn_from_the_journal_and_the_path_is_printed(tools, runs, capsys):
    run_dir = runs / "LengthAlignedSFT" / "base"
    page, summary = run_dir / "report.html", run_dir / "summary.json"
    before = page.read_text(), summary.read_text()
    page.unlink()
    summary.unlink()
    assert tools.igpo_command("report", run_dir) == 0
    output = capsys.readouterr()
    assert (output.out, output.err) == (f"{page}\n", "")
    assert summary.read_text() == before[1]
    assert page.read_text().startswith("<!doctype html>")
    assert "LengthAlignedSFT" in page.read_text()


def test_a_run_in_progress_has_a_report_too(tools, runs, capsys):
    run_dir = runs / "LengthAlignedSFT" / "base"
    journal = run_dir / "metrics.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(lines[:12]) + lines[12][:20])
    assert tools.igpo_command("report", run_dir) == 0
    assert json.loads((run_dir / "summary.json").read_text())["steps"] == 10


def test_a_folder_without_a_run_is_refused_and_stays_as_it_was(tools, tmp_path, capsys):
    assert tools.igpo_command("report", tmp_path) == 65
    assert capsys.readouterr().err == (
        f"igpo: {tmp_path / 'metrics.jsonl'} has no line yet; give the folder of a run that has started\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_journal_is_named_by_its_line(tools, runs, capsys):
    run_dir = runs / "LengthAlignedSFT" / "base"
    journal = run_dir / "metrics.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    lines[3] = '{"event": "mystery"}\n'
    journal.write_text("".join(lines))
    assert tools.igpo_command("report", run_dir) == 65
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"igpo: {journal}:4: ")
