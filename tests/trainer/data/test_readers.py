import json
from itertools import pairwise

import pytest

from igpo_trainer.data.readers import load_evaluation, load_split, read_problems
from igpo_trainer.data.word_problems import structure
from igpo_trainer.rewards.judge import Judge, JudgeTask
from igpo_trainer.rewards.verdict import Outcome
from igpo_trainer.spec.dataset import DatasetSpec, PromptSpec
from igpo_trainer.spec.errors import InvalidDataError
from igpo_trainer.spec.run import EvaluationSpec

PROMPT = PromptSpec(trace_format=r"{body} \boxed{{{answer}}}")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def gsm(tmp_path):
    """Rows in GSM8K's schema, written for this test."""
    rows = [
        {
            "question": f"Box {n} holds {n + 1:,} bags of 1,000 beads. How many beads are that?",
            "answer": f"It holds {n + 1} * 1000 = <<{n + 1}*1000={n + 1}000>>{n + 1}000 beads.\n#### {n + 1},000",
        }
        for n in range(20)
    ]
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def spec_of(path, **fields):
    return DatasetSpec.model_validate({"source": str(path), "answer": {"after": "####"}, **fields})


def test_reference_answers_judge_right_and_others_wrong(gsm):
    problems = read_problems(spec_of(gsm), PROMPT)
    assert len(problems) == 20
    with Judge() as judge:
        right = judge.judge([JudgeTask(p.prompt, p.trace, p.answer) for p in problems])
        wrong = judge.judge([JudgeTask(p.prompt, p.trace, q.answer) for p, q in pairwise(problems)])
    assert {v.outcome for v in right} == {Outcome.RIGHT}
    assert {v.outcome for v in wrong} == {Outcome.WRONG}


def test_a_bad_row_is_named_by_its_place_in_the_file(gsm):
    with gsm.open("a") as file:
        file.write(json.dumps({"question": "q", "answer": "no mark"}) + "\n")
    with pytest.raises(InvalidDataError, match=rf"{gsm} row 21 field 'answer'"):
        read_problems(spec_of(gsm), PROMPT)


def test_external_rows_are_cut_by_seed(gsm):
    split = load_split(spec_of(gsm, holdout={"rows": 5}), PROMPT, seed=1)
    assert (len(split.train), len(split.holdout)) == (15, 5)
    assert split == load_split(spec_of(gsm, holdout={"rows": 5}), PROMPT, seed=1)


def test_the_default_holdout_of_a_small_file_is_refused_with_the_numbers(gsm):
    with pytest.raises(InvalidDataError, match="256 of 20"):
        load_split(spec_of(gsm), PROMPT, seed=1)


def test_the_built_in_task_holds_out_structures():
    spec = DatasetSpec.model_validate(
        {"source": "builtin:word-problems", "wordProblems": {"rows": 300}, "holdout": {"rows": 50}}
    )
    split = load_split(spec, PromptSpec(), seed=2)
    assert (len(split.train), len(split.holdout)) == (300, 50)
    assert not {structure(p) for p in split.train} & {structure(p) for p in split.holdout}


def test_a_generated_trace_takes_the_trace_format_too():
    spec = DatasetSpec.model_validate({"source": "builtin:word-problems", "wordProblems": {"rows": 5}})
    plain, wrapped = (read_problems(spec, PromptSpec(trace_format=f), seed=2) for f in ("{body}", "so {body}"))
    assert [p.trace for p in wrapped] == [f"so {p.trace}" for p in plain]


def test_evaluation_sets_fall_back_on_the_columns_of_the_data_set(gsm, tmp_path):
    amc = tmp_path / "amc.jsonl"
    amc.write_text(json.dumps({"problem": "What is 3 squared?", "answer": 9.0}) + "\n")
    evaluation = EvaluationSpec.model_validate(
        {
            "datasets": [
                {"source": "holdout"},
                {"source": str(gsm)},
                {"source": str(amc), "fields": {"prompt": "problem", "trace": "solution", "answer": "answer"}},
                {"source": "builtin:word-problems"},
            ]
        }
    )
    spec = spec_of(gsm, holdout={"rows": 5})
    holdout = load_split(spec, PROMPT, seed=1).holdout
    sets = load_evaluation(evaluation, spec, PROMPT, seed=1, holdout=holdout)
    assert [entry.source for entry, _ in sets] == ["holdout", str(gsm), str(amc), "builtin:word-problems"]
    assert [len(problems) for _, problems in sets] == [5, 20, 1, 5]
    assert sets[0][1] == holdout
    assert (sets[2][1][0].answer, sets[2][1][0].trace) == ("9.0", "")
