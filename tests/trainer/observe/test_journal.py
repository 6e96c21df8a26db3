import json
import math
import resource

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igpo_trainer.observe.journal import Journal, RecordFile, read_metrics, read_samples
from igpo_trainer.observe.records import JOURNAL, EndRecord, SftStepRecord, Split
from igpo_trainer.spec.errors import InvalidDataError


def metrics_file(run_dir):
    return run_dir / "metrics.jsonl"


def test_what_is_written_is_read_back(run_dir, records, make):
    assert read_metrics(run_dir) == records
    assert read_samples(run_dir) == make.samples()


def test_a_missing_file_reads_as_no_records(tmp_path):
    assert read_metrics(tmp_path) == []
    assert read_samples(tmp_path) == []


def test_every_line_is_valid_json_with_an_event_a_step_and_a_time(run_dir):
    for line in metrics_file(run_dir).read_text().splitlines():
        parsed = json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
        assert {"event", "step", "time"} <= parsed.keys()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_non_finite_number_is_written_as_null(tmp_path, make, bad):
    record = make.step(1, grad_norm=bad, entropy=Split(hint=bad, generated=0.5), reward_mean={"total": bad})
    with Journal(tmp_path) as journal:
        journal.write(record)
    line = json.loads(metrics_file(tmp_path).read_text())
    assert (line["grad_norm"], line["entropy"], line["reward_mean"]) == (
        None,
        {"hint": None, "generated": 0.5},
        {"total": None},
    )
    [back] = read_metrics(tmp_path)
    assert back.grad_norm is None


def test_wall_clock_data_lives_under_time_alone(make):
    first = make.step(3)
    later = first.model_copy(update={"time": make.step(4).time})
    assert first.time != later.time
    lines = [json.loads(record.model_dump_json()) for record in (first, later)]
    assert {key for key in lines[0] if lines[0][key] != lines[1][key]} == {"time"}


def test_truncation_keeps_lines_up_to_the_step_and_drops_the_end(run_dir, records):
    with Journal(run_dir) as journal:
        journal.truncate_after(20)
    kept = read_metrics(run_dir)
    assert kept == [r for r in records if r.step <= 20 and not isinstance(r, EndRecord)]
    assert max(sample.step for sample in read_samples(run_dir)) == 1


def test_a_resumed_journal_equals_the_uninterrupted_one_byte_for_byte(run_dir, records):
    whole = metrics_file(run_dir).read_bytes()
    with Journal(run_dir) as journal:
        journal.truncate_after(13)
        for record in records:
            if record.step > 13:
                journal.write(record)
    assert metrics_file(run_dir).read_bytes() == whole


def test_a_fresh_start_empties_both_files(run_dir):
    with Journal(run_dir) as journal:
        journal.truncate_after(-1)
    assert read_metrics(run_dir) == []
    assert read_samples(run_dir) == []


def test_truncation_leaves_no_draft_behind(run_dir):
    with Journal(run_dir) as journal:
        journal.truncate_after(5)
    assert {path.name for path in run_dir.iterdir()} == {"metrics.jsonl", "samples.jsonl"}


@settings(max_examples=30, deadline=None)
@given(cut=st.integers(min_value=1, max_value=400))
def test_a_torn_last_line_is_passed_over_and_then_cut_off(tmp_path_factory, cut):
    run_dir = tmp_path_factory.mktemp("torn")
    end = EndRecord(step=7, time={"at": 1.0})
    line = end.model_dump_json().encode() + b"\n"
    torn = line[: min(cut, len(line) - 1)]
    metrics_file(run_dir).write_bytes(line + torn)
    assert read_metrics(run_dir) == [end]
    with Journal(run_dir) as journal:
        journal.write(end)
    assert metrics_file(run_dir).read_bytes() == line + line


def test_a_broken_line_in_the_middle_is_refused_with_its_number(run_dir):
    lines = metrics_file(run_dir).read_bytes().splitlines(keepends=True)
    lines[4] = b'{"event":"step","step":2}\n'
    metrics_file(run_dir).write_bytes(b"".join(lines))
    with pytest.raises(InvalidDataError, match=r"metrics\.jsonl:5: step\.reward_mean: Field required; remove the line"):
        read_metrics(run_dir)


def test_text_that_is_no_json_is_refused_with_its_number(tmp_path):
    metrics_file(tmp_path).write_text("not json\n")
    with pytest.raises(InvalidDataError, match=r"metrics\.jsonl:1: the line: Invalid JSON"):
        read_metrics(tmp_path)


def test_a_line_is_visible_to_other_readers_as_soon_as_it_is_written(tmp_path, make):
    with Journal(tmp_path) as journal:
        journal.write(make.step(1))
        assert [record.step for record in read_metrics(tmp_path)] == [1]
        assert journal.records() == read_metrics(tmp_path)
        journal.sync()


def test_closing_twice_is_harmless(tmp_path):
    journal = Journal(tmp_path / "new" / "folder")
    journal.close()
    journal.close()
    assert metrics_file(tmp_path / "new" / "folder").exists()


def test_a_disk_that_fills_up_raises_and_the_torn_line_is_cut_off_later(tmp_path, make):
    path = metrics_file(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with RecordFile(path, JOURNAL) as file:
        file.write(make.step(1))
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 100, limits[1]))
        try:
            with pytest.raises(OSError, match="File too large"):
                file.write(make.step(2))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not path.read_bytes().endswith(b"\n")
    with RecordFile(path, JOURNAL):
        assert read_metrics(tmp_path) == [make.step(1)]
        assert path.read_bytes().endswith(b"\n")


def test_length_counts_are_ordered_so_that_ranks_may_be_merged_in_any_order(make):
    assert list(make.step(1, completion_lengths={9: 1, 2: 3}).completion_lengths) == [2, 9]


def test_an_sft_line_is_read_as_an_sft_record(tmp_path, make):
    make.write_run(tmp_path, make.sft_records())
    assert sum(isinstance(record, SftStepRecord) for record in read_metrics(tmp_path)) == 60
