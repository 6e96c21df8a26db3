import json
import re
import socket
import sys
from math import comb
from statistics import mean

import ablations
import pytest

RL = {"IGPO": "igpo", "IGPO, η = 1": "eta1", "IGPO, τ = 1": "tau1", "Resample": "resample", "GRPO": "grpo"}
ABOUT_HINTS = ("IGPO, η = 1", "IGPO, τ = 1")
SFT = {"rewritten": "rewritten", "originals": "originals", "originals, equal tokens": "tokens"}


def lines(run_dir, event):
    records = map(json.loads, (run_dir / "metrics.jsonl").read_text().splitlines())
    return [record for record in records if record["event"] == event]


def evaluations(run_dir, samples):
    return {r["step"]: r["right"] for r in lines(run_dir, "evaluation") if r["samples"] == samples}


def tokens_by_step(run_dir):
    """Prompt 40 at most, canvas 24, G = 4: counted anew from the journal."""
    total, course = 0, {0: 0}
    for record in lines(run_dir, "step"):
        completions = 4 * (sum(record["groups_initial"].values()) + record["rescue"]["attempted"])
        rows = record["updates"] * sum(record["groups_initial"].values())
        prompt = record["tokens"]["prompt"] / completions
        total += round((completions + rows) * (prompt + 24))
        course[record["step"]] = total
    return course


def mean_tokens(counts):
    return sum(int(length) * count for length, count in counts.items()) / sum(counts.values())


def figures(sampled, greedy):
    """avg@4, pass@2, pass@4, greedy, all-wrong, as means over problems."""
    passed = [mean(1 - comb(4 - c, k) / comb(4, k) for c in sampled) for k in (2, 4)]
    return [mean(sampled) / 4, *passed, mean(greedy), mean(c == 0 for c in sampled)]


def row_of(section, *cells):
    (row,) = re.findall(rf"^\| {re.escape(' | '.join(cells))} \|(.*)\|$", section, re.MULTILINE)
    return [float(re.match(r"\s*([+-]?[\d.]+)", cell)[1]) for cell in row.split("|")]


@pytest.fixture
def run(tmp_path, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def call(*more):
        options = ["--quick", "--out", tmp_path, "--teacher-port", port, *more]
        monkeypatch.setattr(sys, "argv", ["ablations.py", *map(str, options)])
        return ablations.main()

    return call


@pytest.mark.timeout(900)
def test_the_page_says_what_the_journals_say_and_a_second_call_only_writes_it(tmp_path, run, capsys):
    assert run() == 0
    page = (tmp_path / "ablations.md").read_text()
    cost = page.partition("\n## Cost")[2]
    charts = {path: path.read_text() for path in (tmp_path / "images").iterdir()}
    after_sft, steps, tokens = re.split(r"^## Equal .*$", page.partition("\n## Courses")[0], flags=re.MULTILINE)
    steps, _, every_seed = steps.partition("<details>")
    tokens, _, every_seed_tokens = tokens.partition("<details>")
    folders = {
        (sft, rl): tmp_path / "IGPOTraining" / f"rl-{SFT[sft]}-{RL[rl]}-seed0"
        for sft in SFT
        for rl in RL
        if sft == "rewritten" or rl not in ABOUT_HINTS
    }
    assert {path.name for path in (tmp_path / "IGPOTraining").iterdir()} == {path.name for path in folders.values()}
    courses = {key: tokens_by_step(folder) for key, folder in folders.items()}
    least = min(course[4] for course in courses.values())
    assert f"## Equal tokens: after {least:,} network tokens" in page
    for (sft, rl), folder in folders.items():
        sampled, greedy, spent = evaluations(folder, 4), evaluations(folder, 1), courses[sft, rl]
        assert set(sampled) == set(greedy) == {0, 2, 4}
        assert row_of(after_sft, sft, "0") == pytest.approx(percents(figures(sampled[0], greedy[0])), abs=0.051)
        assert row_of(steps, sft, rl) == pytest.approx(percents(figures(sampled[4], greedy[4])), abs=0.051)
        assert row_of(every_seed, sft, rl, "0") == row_of(steps, sft, rl)
        assert row_of(every_seed_tokens, sft, rl, "0") == row_of(tokens, sft, rl)
        before, after = (0, 2) if least <= spent[2] else (2, 4)
        share = (least - spent[before]) / (spent[after] - spent[before])
        around = figures(sampled[before], greedy[before]), figures(sampled[after], greedy[after])
        mixed = [(1 - share) * a + share * b for a, b in zip(*around, strict=True)]
        assert row_of(tokens, sft, rl) == pytest.approx(percents(mixed), abs=0.051)
        gap = mean(sampled[4]) / 4 - mean(evaluations(folders[sft, "IGPO"], 4)[4]) / 4
        if rl != "IGPO":
            assert row_of(steps, sft, f"{rl} − IGPO")[1] == pytest.approx(100 * gap, abs=0.051)
        first, last = (mean_tokens(lines(folder, "step")[which]["completion_lengths"]) for which in (0, -1))
        assert re.search(rf"^\| {sft} \| {rl} \| 0 \|.* {first:.1f} → {last:.1f} \|", cost, re.MULTILINE)
    ends = {str(evaluations(folder, 4)[4]) for folder in folders.values()}
    assert len(ends) > len(SFT), "the arms hardly differ, so a mixed-up table would not be noticed"
    check_sft(tmp_path, after_sft)

    capsys.readouterr()
    assert run() == 0
    told = capsys.readouterr().out
    assert told.count("finished before, left alone") == 4
    assert "started" not in told
    assert (tmp_path / "ablations.md").read_text() == page
    assert {path: path.read_text() for path in (tmp_path / "images").iterdir()} == charts


def percents(values):
    return [100 * value for value in values]


def check_sft(runs, section):
    """Arms differ in what they train on: updates and tokens, and no trace is lost."""
    counts = {}
    for arm, short in SFT.items():
        run_dir = runs / "LengthAlignedSFT" / f"long-{short}-seed0"
        steps = lines(run_dir, "sft_step")
        spent = sum(r["tokens"]["prompt"] + r["tokens"]["target"] for r in steps)
        (data,) = lines(run_dir, "data")
        counts[arm] = (len(steps), spent / len(steps), data["problems"])
        (row,) = re.findall(rf"\| long-{short}-seed0 \| (\d+) \| ([\d,]+) \|", section)
        assert (int(row[0]), int(row[1].replace(",", ""))) == (len(steps), spent)
    assert counts["originals"][:1] == counts["rewritten"][:1] > counts["originals, equal tokens"][:1]
    assert counts["originals"][1] > counts["rewritten"][1]
    assert counts["originals"][2] == counts["rewritten"][2] == 64


def test_a_teacher_port_that_is_taken_is_told_and_nothing_is_run(tmp_path, run):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(SystemExit, match=rf"port {port} of 127\.0\.0\.1 cannot be used .*--teacher-port"):
            run("--teacher-port", port)
    assert not (tmp_path / "LengthAlignedSFT").exists()


def test_arms_that_only_the_first_sft_arm_has_are_refused_where_others_would_have_none(tmp_path, run, capsys):
    with pytest.raises(SystemExit):
        run("--sft", "rewritten", "originals", "--arms", *ABOUT_HINTS)
    assert "nothing would start from originals" in capsys.readouterr().err
    assert not (tmp_path / "LengthAlignedSFT").exists()
