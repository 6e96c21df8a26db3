"""benchmarks/gsm8k_audit.py on a small folder of rows in GSM8K's schema, written for these tests."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gsm8k_audit.py"


def row(n):
    total = 12 * n + 105
    answer = (
        f"Ann packs 12 crates of {n} pears, 12*{n} = <<12*{n}={12 * n}>>{12 * n}.\n"
        f"With 105 more she has {12 * n}+105 = <<{12 * n}+105={total}>>{total} pears.\n#### {total:,}"
    )
    return {"question": f"Ann packs 12 crates of {n} pears and has 105 more. How many pears?", "answer": answer}


@pytest.fixture
def audit(tmp_path):
    def run(train, test, *options):
        for name, rows in (("train", train), ("test", test)):
            if rows is not None:
                (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
        return subprocess.run(
            [sys.executable, SCRIPT, str(tmp_path), *options],
            env=os.environ | {"HF_HOME": str(tmp_path / "cache")},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_good_rows_keep_every_bar(audit):
    done = audit([row(n) for n in range(60, 120)], [row(n) for n in range(10)])
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["rows"] == {"train": 60, "test": 10}
    assert set(figures["read"].values()) == {60, 10}
    assert figures["reward"] == figures["math_verify"] == {"answer_right": 70, "plus_one_wrong": 70}
    assert all(figures["bars"].values())
    for hints in figures["hints"].values():
        assert hints["Anywhere"]["leaks"] == 0 < hints["Statement"]["leaks"]
        assert hints["Anywhere"]["hintable_share"] < hints["Statement"]["hintable_share"] < 1
    assert "MISSED" not in done.stderr


def test_a_row_that_is_not_read_misses_a_bar(audit):
    done = audit([*(row(n) for n in range(20)), {"question": "How many?", "answer": "no mark"}], [row(1)])
    assert done.returncode == 1
    figures = json.loads(done.stdout)
    assert figures["left_out"]["train/format"] == {"no answer, first in row 21": 1}
    assert [name for name, kept in figures["bars"].items() if not kept] == ["every row is read"]
    assert "MISSED every row is read" in done.stderr


def test_a_folder_without_the_files_is_one_line(audit):
    done = audit([row(1)], None)
    assert done.returncode == 64
    assert done.stderr.strip().endswith(
        "test.jsonl: no such file; give a folder with train.jsonl and test.jsonl of GSM8K"
    )
    assert done.stderr.count("\n") == 1
