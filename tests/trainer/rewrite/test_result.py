from dataclasses import replace

import pytest

from igpo_trainer.observe.records import RewriteRecord, Time
from igpo_trainer.rewrite.outcome import outcome_of
from igpo_trainer.rewrite.result import RewriteResult, encoded_rows, inputs_hash, kept_problems, read_result
from igpo_trainer.spec.errors import InvalidDataError

RECORD = RewriteRecord(
    teacher="short", base_url="http://t/v1", prompt_hash="0", rows=2, kept=1, target_length=24, time=Time(at=1.0)
)


@pytest.fixture
def outcome(desk, teacher, tmp_path):
    spec = desk.spec_of(teacher.base_url, rows=10)
    with desk.work_of(tmp_path, spec) as work:
        work.run()
        return outcome_of(work)


def test_a_row_says_where_it_came_from(desk, teacher, outcome):
    spec = desk.spec_of(teacher.base_url, rows=10)
    for row, kept in zip(desk.rows_of(spec), outcome.kept, strict=True):
        assert (kept.key, kept.prompt, kept.answer) == (row.problem.key, row.problem.prompt, row.problem.answer)
        assert (kept.original, kept.original_tokens) == (row.problem.trace, row.original_tokens)
        assert (kept.teacher, kept.base_url, kept.request) == ("short", teacher.base_url, row.request.key)
        assert (kept.verdict, kept.reason, kept.finish) == ("right", None, "stop")
        assert kept.completion_tokens == len(kept.trace.split()) == kept.tokens - 1
        assert kept.prompt_tokens > 0
        assert len(kept.prompt_hash) == 64


def test_kept_rows_are_read_back_as_problems_in_order(tmp_path, outcome):
    path = tmp_path / "kept.jsonl"
    path.write_bytes(encoded_rows(outcome.kept))
    problems = kept_problems(tmp_path)
    assert [(p.key, p.prompt, p.trace, p.answer, p.difficulty) for p in problems] == [
        (r.key, r.prompt, r.trace, r.answer, r.difficulty) for r in outcome.kept
    ]
    assert problems[1].origin == f"{path} row 2"


def test_a_result_counts_for_its_own_inputs_only(tmp_path):
    assert read_result(tmp_path, "a") is None
    (tmp_path / "result.json").write_text(RewriteResult(inputs="a", record=RECORD).model_dump_json())
    assert read_result(tmp_path, "a").record == RECORD
    assert read_result(tmp_path, "b") is None


def test_a_damaged_result_is_named_with_the_remedy(tmp_path):
    (tmp_path / "result.json").write_text("{")
    with pytest.raises(InvalidDataError, match=r"result\.json is no result .*remove it and start again: the answers"):
        read_result(tmp_path, "a")


def test_whatever_decides_what_is_kept_changes_the_inputs(desk):
    spec = desk.spec_of("http://t/v1", rows=3)
    problems = [row.problem for row in desk.rows_of(spec)]
    longer = spec.length.model_copy(update={"target": 25})
    wider = spec.dataset.model_copy(update={"max_prompt_tokens": 41})
    others = [
        inputs_hash(problems, desk.spec_of("http://t/v1", prompt="Shorter.")),
        inputs_hash(problems, spec.model_copy(update={"length": longer})),
        inputs_hash(problems, spec.model_copy(update={"dataset": wider})),
        inputs_hash(problems[1:], spec),
        inputs_hash(problems[::-1], spec),
        inputs_hash([replace(problems[0], trace="x"), *problems[1:]], spec),
    ]
    assert len({inputs_hash(problems, spec), *others}) == 7
    assert inputs_hash(problems, desk.spec_of("http://t/v1", concurrency=1, tokenBudget=5)) == inputs_hash(
        problems, spec
    )
