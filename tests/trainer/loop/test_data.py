import json

import pytest

from igpo_trainer.data.word_problems import generate
from igpo_trainer.loop.data import load_data
from igpo_trainer.models.scratch import word_tokenizer
from igpo_trainer.observe.lines import line
from igpo_trainer.spec.dataset import Difficulty, WordProblems
from igpo_trainer.spec.errors import InvalidDataError, InvalidRunError


def written(count):
    """Word problems as rows of a file."""
    options = WordProblems(rows=count, difficulties=(Difficulty(steps=1, share=1.0),))
    problems = generate(options, split="train", rows=count, seed=3)
    return [{"question": p.prompt, "answer": p.trace} for p in problems]


def data_of(desk, document):
    (loaded,) = desk.load(desk.root, document)
    return load_data(loaded.spec, word_tokenizer(), 64)


def test_sft_leaves_out_and_counts_traces_without_room_for_an_end_token(desk):
    mixed = {"wordProblems": {"rows": 200, "difficulties": [{"steps": 1, "share": 0.7}, {"steps": 4, "share": 0.3}]}}
    data = data_of(desk, desk.sft(dataset=mixed))
    everything = data_of(desk, desk.igpo(dataset=mixed, seed=0))
    long = [e for e in everything.train if len(e.trace_ids) >= 16]
    assert long
    assert data.record.dropped == {"trace longer than length.target": len(long)}
    assert len(data.train) + len(long) == len(everything.train) == 200
    assert all(len(e.trace_ids) < 16 for e in data.train)
    assert data.record.overlong_traces == 0


def test_rl_keeps_long_traces_and_counts_them(desk):
    mixed = {"wordProblems": {"rows": 200, "difficulties": [{"steps": 1, "share": 0.7}, {"steps": 4, "share": 0.3}]}}
    data = data_of(desk, desk.igpo(dataset=mixed))
    assert data.record.dropped == {}
    assert data.record.overlong_traces == sum(len(e.trace_ids) > 16 for e in data.train) > 0


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("sft", r"60 of 60 traces with their end token are longer than length\.target 16 \(longest 21\); raise it, or"),
        (
            "igpo",
            r"60 of 60 traces are longer than the canvas of 16 tokens \(longest 20\), so most cannot be whole hints",
        ),
    ],
)
def test_more_than_half_of_the_traces_beyond_the_canvas_is_refused(desk, kind, words):
    make = {"sft": desk.sft, "igpo": desk.igpo}[kind]
    document = make(dataset={"wordProblems": {"difficulties": [{"steps": 4, "share": 1}]}})
    with pytest.raises(InvalidDataError, match=words) as caught:
        data_of(desk, document)
    assert caught.value.exit_code == 65


def test_originals_at_their_own_context_are_kept_whole_and_only_longer_ones_left_out(desk):
    everything = data_of(desk, desk.igpo(dataset=desk.context()["spec"]["dataset"], seed=0))
    tokens = [len(e.trace_ids) for e in everything.train]
    data = data_of(desk, desk.context())
    assert [e.trace_ids for e in data.train] == [e.trace_ids for e in everything.train if len(e.trace_ids) < 20]
    assert {len(e.trace_ids) < 16 for e in data.train} == {True, False}
    record = data.record
    assert record.dropped == {"trace longer than length.contextTokens": sum(n >= 20 for n in tokens)}
    assert (record.target_length, record.context_length, record.overlong_traces) == (16, 20, 0)
    assert record.context_traces == sum(16 <= n < 20 for n in tokens) > 0
    assert f"{record.context_traces} longer on a canvas of 20 | " in line(record, 1)
    assert f"{record.dropped['trace longer than length.contextTokens']} dropped (trace longer" in line(record, 1)


def test_that_no_trace_fits_the_target_is_no_matter_where_most_fit_their_context(desk):
    only = {"wordProblems": {"difficulties": [{"steps": 3, "share": 0.3}, {"steps": 4, "share": 0.7}]}}
    data = data_of(desk, desk.context(dataset=only, length={"contextTokens": 24}))
    assert data.record.context_traces == len(data.train) == 60
    with pytest.raises(
        InvalidDataError,
        match=r"\d\d of 60 traces with their end token are longer than length\.contextTokens 17 \(longest 21\); raise",
    ) as caught:
        data_of(desk, desk.context(dataset=only, length={"contextTokens": 17}))
    assert caught.value.exit_code == 65


def test_a_context_that_the_model_cannot_hold_is_refused(desk):
    (loaded,) = desk.load(desk.root, desk.context())
    with pytest.raises(InvalidRunError, match=r"40 \+ canvas 20 = 60 tokens, beyond the model's limit of 59"):
        load_data(loaded.spec, word_tokenizer(), 59)


def test_every_reason_for_a_dropped_row_is_counted(desk):
    rows = written(60)
    rows += rows[:3]
    rows += [{"question": "no answer ?", "answer": "4 + 4 = 8"}, {"question": "", "answer": "8"}]
    rows += [{"question": " ".join([row["question"]] * 3), "answer": row["answer"]} for row in rows[:6]]
    source = desk.root / "rows.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    document = desk.igpo(
        dataset={"source": str(source), "wordProblems": None, "holdout": {"rows": 50}, "maxPromptTokens": 40},
        seed=0,
    )
    data = data_of(desk, document)
    dropped = data.record.dropped
    assert data.record.heldout == len(data.heldout) == 50 - dropped["overlong held-out prompt"]
    assert dropped["overlong prompt"] + dropped["overlong held-out prompt"] == 6
    assert dropped["duplicate of a held-out prompt"] >= 1
    assert dropped["no filled \\boxed{} in 'answer', so no answer, first in row 64"] == 1
    assert dropped["'question' is empty, first in row 65"] == 1
    assert data.record.problems + data.record.heldout == len(rows) - sum(dropped.values())
    assert data.record.problems == len(data.train)
    assert sum(data.record.trace_lengths.values()) == len(data.train)


def test_no_held_out_problem_is_trained_on(desk):
    data = data_of(desk, desk.igpo())
    assert not {e.problem.prompt for e in data.train} & {e.problem.prompt for e in data.heldout}


def test_other_evaluation_sets_are_measured_on_their_own_problems(desk):
    rows = written(5)
    source = desk.root / "test.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    sets = [{"source": "holdout"}, {"source": str(source), "samples": 2, "temperature": 1.0}]
    folder = desk.train(desk.sft(evaluation={"datasets": sets}))
    measured = desk.events(folder, "evaluation")
    assert [(r["dataset"], r["problems"]) for r in measured] == [("holdout", 8), (str(source), 5)]


def test_rows_of_an_evaluation_set_that_are_not_measured_are_counted_by_set_and_reason(desk):
    long = {"question": " ".join([written(1)[0]["question"]] * 3), "answer": "\\boxed{ 1 }"}
    rows = [*written(5), long, {"question": "no answer ?", "answer": "4 + 4 = 8"}]
    source = desk.root / "test.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    document = desk.sft(evaluation={"datasets": [{"source": "holdout"}, {"source": str(source)}]})
    data = data_of(desk, document)
    reasons = {"no filled \\boxed{} in 'answer', so no answer, first in row 7": 1, "overlong prompt": 1}
    assert data.record.unmeasured == {str(source): reasons}
    assert f"1 of {source} not measured (overlong prompt)" in line(data.record, 1)
    assert data.record.dropped.keys() <= {"trace longer than length.target"}


def test_an_error_in_an_evaluation_set_names_that_set(desk):
    source = desk.root / "test.jsonl"
    source.write_text(json.dumps({"question": "Zut alors ?", "answer": "\\boxed{ 1 }"}) + "\n")
    document = desk.sft(evaluation={"datasets": [{"source": "holdout"}, {"source": str(source)}]})
    with pytest.raises(InvalidDataError, match=r"test\.jsonl: 1 of 1 problems have words"):
        data_of(desk, document)
