import json
from itertools import pairwise

import pytest

from igpo_trainer.data.readers import as_dataset, load_evaluation, load_split, read_problems, row_format
from igpo_trainer.data.word_problems import structure
from igpo_trainer.rewards.judge import Judge, JudgeTask
from igpo_trainer.rewards.verdict import Outcome
from igpo_trainer.spec.dataset import DatasetSpec, PromptSpec
from igpo_trainer.spec.errors import InvalidDataError, InvalidRunError
from igpo_trainer.spec.run import EvaluationSet, EvaluationSpec

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
    problems = read_problems(spec_of(gsm), PROMPT).problems
    assert len(problems) == 20
    with Judge() as judge:
        right = judge.judge([JudgeTask(p.prompt, p.trace, p.answer) for p in problems])
        wrong = judge.judge([JudgeTask(p.prompt, p.trace, q.answer) for p, q in pairwise(problems)])
    assert {v.outcome for v in right} == {Outcome.RIGHT}
    assert {v.outcome for v in wrong} == {Outcome.WRONG}


def test_a_row_that_cannot_be_used_is_counted(gsm):
    with gsm.open("a") as file:
        file.write(json.dumps({"question": "q", "answer": "no mark"}) + "\n")
    split = load_split(spec_of(gsm, holdout={"rows": 5}), PROMPT, seed=1)
    assert split.left_out == {"no text after '####' in 'answer', so no answer, first in row 21": 1}
    assert (len(split.train), len(split.holdout)) == (15, 5)


def test_a_local_file_is_read_in_the_format_that_is_named(gsm):
    problems = read_problems(DatasetSpec(source=str(gsm), format="GSM8K"), PromptSpec()).problems
    assert problems[0].trace == r"It holds 1 * 1000 = 1000 beads. \boxed{1,000}"
    assert {p.difficulty for p in problems} == {"1 step"}


def test_a_file_of_the_default_columns_in_a_known_format_is_told_so(gsm):
    with pytest.raises(InvalidDataError, match=r"20 of 20 rows cannot be used.*look like format: GSM8K"):
        read_problems(DatasetSpec(source=str(gsm)), PromptSpec())


def test_a_format_without_traces_is_refused_for_training_and_not_for_measuring(tmp_path):
    path = tmp_path / "amc.jsonl"
    path.write_text(json.dumps({"id": 0, "problem": "What is 3 squared?", "answer": 9.0, "url": "u"}) + "\n")
    spec = DatasetSpec(source=str(path), format="AMC")
    with pytest.raises(InvalidRunError, match=r"format AMC has problems and answers but no traces.*evaluation"):
        read_problems(spec, PROMPT)
    assert read_problems(spec, PROMPT, traces=False).problems[0].answer == "9"


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"source": "openai/gsm8k"}, "GSM8K"),
        ({"source": "OpenAI/GSM8K"}, "GSM8K"),
        ({"source": "openai/gsm8k", "answer": {"after": "####"}}, None),
        ({"source": "openai/gsm8k", "fields": {"prompt": "q"}}, None),
        ({"source": "someone/problems"}, None),
        ({"source": "someone/problems", "format": "MATH"}, "MATH"),
        ({"source": "meta-math/MetaMathQA", "format": None}, "MetaMathQA"),
    ],
)
def test_a_known_hub_id_has_its_format_unless_columns_are_named(fields, name):
    assert row_format(DatasetSpec.model_validate(fields)) == name


def test_a_folder_that_is_called_as_a_hub_id_is_read_without_the_hubs_configuration(gsm, tmp_path, monkeypatch):
    folder = tmp_path / "openai" / "gsm8k"
    folder.mkdir(parents=True)
    gsm.rename(folder / "train.jsonl")
    monkeypatch.chdir(tmp_path)
    assert len(read_problems(DatasetSpec(source="openai/gsm8k"), PromptSpec()).problems) == 20


def test_what_an_evaluation_set_leaves_open_is_as_in_the_data_set(gsm):
    evaluation = EvaluationSpec.model_validate({"datasets": [{"source": "holdout"}, {"source": str(gsm)}]})
    spec = DatasetSpec(source="openai/gsm8k")
    _, (_, measured) = load_evaluation(evaluation, spec, PROMPT, seed=1, holdout=[])
    assert {p.difficulty for p in measured.problems} == {"1 step"}


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"source": "math-ai/amc23"}, ("AMC", "question", None)),
        ({"source": "x.jsonl"}, ("GSM8K", "question", None)),
        ({"source": "x.jsonl", "format": "MATH"}, ("MATH", "question", None)),
        ({"source": "math-ai/amc23", "fields": {"prompt": "q", "answer": "a"}}, (None, "q", None)),
        ({"source": "x.jsonl", "answer": {"after": "A:"}}, (None, "question", "A:")),
    ],
)
def test_the_schema_of_an_evaluation_set_is_its_own_then_the_hub_ids_then_the_data_sets(entry, expected):
    found = as_dataset(EvaluationSet.model_validate(entry), DatasetSpec(source="openai/gsm8k"))
    assert (row_format(found), found.fields.prompt, found.answer.after) == expected


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
    assert [p.trace for p in wrapped.problems] == [f"so {p.trace}" for p in plain.problems]


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
    assert [len(read.problems) for _, read in sets] == [5, 20, 1, 5]
    assert sets[0][1].problems == holdout
    (amc_problem,) = sets[2][1].problems
    assert (amc_problem.answer, amc_problem.trace) == ("9.0", "")
