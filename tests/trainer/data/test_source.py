import json
import os
import subprocess
import sys
import textwrap

import pytest

from igpo_trainer.data.source import Source, read_rows
from igpo_trainer.spec.errors import InvalidDataError, InvalidRunError

ROWS = [
    {"question": "Ann reads 12 pages a day. How many in 5 days?", "answer": "12 * 5 = <<12*5=60>>60 pages.\n#### 60"},
    {"question": "A pen costs $3. How much are 7?", "answer": "7 * 3 = $<<7*3=21>>21.\n#### 21"},
]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


def jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_json_lines_are_read_in_order(tmp_path):
    assert list(read_rows(Source(jsonl(tmp_path / "a.jsonl", ROWS)))) == ROWS


def test_a_json_array_is_read(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(ROWS))
    assert list(read_rows(Source(str(path)))) == ROWS


def test_parquet_is_read(tmp_path):
    from datasets import Dataset

    Dataset.from_list(ROWS).to_parquet(tmp_path / "a.parquet")
    assert list(read_rows(Source(str(tmp_path / "a.parquet")))) == ROWS


def test_a_folder_has_splits(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    jsonl(folder / "train.jsonl", ROWS)
    jsonl(folder / "test.jsonl", ROWS[:1])
    assert list(read_rows(Source(str(folder), split="train"))) == ROWS
    assert list(read_rows(Source(str(folder), split="test"))) == ROWS[:1]
    with pytest.raises(InvalidRunError, match=r"'validation'.*train.*test"):
        list(read_rows(Source(str(folder), split="validation")))


def test_a_changed_file_is_read_anew(tmp_path):
    path = tmp_path / "a.jsonl"
    jsonl(path, ROWS[:1])
    assert len(list(read_rows(Source(str(path))))) == 1
    jsonl(path, ROWS)
    assert len(list(read_rows(Source(str(path))))) == 2


@pytest.mark.parametrize("location", ["missing.jsonl", "./missing", "/no/such/folder", "~/no/such.parquet"])
def test_a_missing_file_is_named(location, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidRunError) as error:
        list(read_rows(Source(location)))
    assert location in str(error.value)
    assert "\n" not in str(error.value)


def test_a_broken_line_is_named_with_its_row(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(ROWS[0]) + "\n" + '{"question": "cut of' + "\n")
    with pytest.raises(InvalidDataError) as error:
        list(read_rows(Source(str(path))))
    assert str(error.value).startswith(f"{path} row 2: not JSON")
    assert "\n" not in str(error.value)


def test_a_broken_parquet_file_is_named(tmp_path):
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(InvalidDataError, match=r"a\.parquet"):
        list(read_rows(Source(str(path))))


@pytest.mark.parametrize(("name", "content"), [("a.jsonl", ""), ("b.jsonl", "\n\n"), ("a.json", "[]")])
def test_a_source_without_rows_is_refused(name, content, tmp_path):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(InvalidDataError, match=name):
        list(read_rows(Source(str(path))))


def test_an_unreachable_hub_is_worth_another_try():
    program = """
        from igpo_trainer.data.source import Source, read_rows
        from igpo_trainer.spec.errors import RunError
        try:
            list(read_rows(Source("someone/some-problems")))
        except RunError as error:
            print(int(error.exit_code), error)
    """
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("1 dataset.source 'someone/some-problems'")
    assert "cannot be reached" in done.stdout
    assert done.stdout.count("\n") == 1
