r"""Small files in each set's own schema, awkward rows among them, read from disk as a user's copy is."""

import json

import pytest
from datasets import Dataset

from igpo_trainer.data.readers import read_problems
from igpo_trainer.spec.dataset import DatasetSpec, PromptSpec

GSM8K = [
    {"question": "Ann has 2 pens and buys 3. How many?", "answer": "2+3 = <<2+3=5>>5.\n#### 5"},
    {"question": "No answer?", "answer": "2+3 = 5."},
    {"question": "Ben doubles $600. How much?", "answer": "600*2 = <<600*2=1200>>1200.\nDone.\n#### 1,200"},
    {"question": "Only the answer?", "answer": "#### 5"},
    {"question": "Ann has 2 pens and buys 3. How many?", "answer": "It is 5.\n#### 5"},
]
MATH = [
    {"problem": "p1", "level": "Level 1", "type": "Algebra", "solution": r"$\boxed{1}$, no, $\boxed{\frac12}$."},
    {"problem": "p2", "level": "Level ?", "type": "Geometry", "solution": r"So $\fbox{7}$."},
    {"problem": "p3", "level": "Level 3", "type": "Geometry", "solution": "No box."},
    {"problem": "p4", "level": "Level 3", "type": "Geometry", "solution": ""},
]
MATH500 = [
    {
        "problem": "p1",
        "solution": r"So $\boxed{4}$.",
        "answer": "4",
        "subject": "Algebra",
        "level": 5,
        "unique_id": "a",
    },
    {
        "problem": "p2",
        "solution": r"So $\boxed{x}$.",
        "answer": None,
        "subject": "Algebra",
        "level": 1,
        "unique_id": "b",
    },
]
META_MATH_QA = [
    {"type": kind, "query": query, "original_question": "o", "response": response}
    for kind, query, response in (
        ("GSM_AnsAug", "q1", "3.\n#### 3\nThe answer is: 3"),
        ("GSM_SV", "q1 with x", "3.\nThe answer is: 3"),
        ("MATH_AnsAug", "q2", r"It is $\boxed{\pi}$. The answer is: $\pi$"),
        ("MATH_AnsAug", "Q2 ", r"Or $\boxed{\pi}$. The answer is: \pi"),
        ("GSM_AnsAug", "q3", "I give up."),
    )
]
OPEN_R1 = [
    {
        "problem": problem,
        "solution": "s",
        "answer": answer,
        "question_type": "math-word-problem",
        "is_reasoning_complete": [True, True],
        "generations": generations,
        "correctness_math_verify": verified,
        "correctness_llama": judged,
        "messages": [{"role": "user", "content": problem}],
    }
    for problem, answer, generations, verified, judged in (
        ("p1", "2", ["bad", "<think>\nwell\n</think>\n\n\\boxed{2}"], [False, True], None),
        ("p2", "3", ["by judge", "x"], None, [True, False]),
        ("p3", "proof", ["x", "y"], [True, True], None),
        ("p4", "4", ["x", "y"], [False, False], None),
    )
]
AMC = [
    {"id": 0, "problem": "p1", "answer": 27.0, "url": "u"},
    {"id": 1, "problem": "", "answer": 3.0, "url": "u"},
    {"id": 2, "problem": "p3", "answer": 3.5, "url": "u"},
]
MINERVA = [
    {"problem": "p1", "solution": r"Thus \boxed{9.8}.", "type": "physics", "idx": 0},
    {"problem": "p2", "solution": "Nothing.", "type": "physics", "idx": 1},
]
SETS = {
    "GSM8K": ("GSM8K", GSM8K, ["5", "1,200", "5"], {"no answer, first in row 2", "no trace, first in row 4"}),
    "MATH": ("MATH", MATH, [r"\frac12", "7"], {"no answer, first in row 3", "'solution' is empty, first in row 4"}),
    "MATH500": ("MATH", MATH500, ["4", "x"], set()),
    "MetaMathQA": (
        "MetaMathQA",
        META_MATH_QA,
        ["3", r"\pi"],
        {"not an AnsAug row", "repeated question", "no answer, first in row 5"},
    ),
    "OpenR1": (
        "OpenR1",
        OPEN_R1,
        ["2", "3"],
        {"no answer, first in row 3", "no generation that is complete and verified, first in row 4"},
    ),
    "AMC": ("AMC", AMC, ["27", "3.5"], {"'problem' is empty, first in row 2"}),
    "Minerva": ("Minerva", MINERVA, ["9.8"], {"no answer, first in row 2"}),
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


def write(path, rows):
    if path.suffix == ".parquet":
        Dataset.from_list(rows).to_parquet(path)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".parquet"])
@pytest.mark.parametrize("name", SETS)
def test_a_file_in_a_sets_schema_is_read_and_its_other_rows_are_counted(name, suffix, tmp_path):
    row_format, rows, answers, reasons = SETS[name]
    spec = DatasetSpec(source=write(tmp_path / f"rows{suffix}", rows), format=row_format)
    found = read_problems(spec, PromptSpec(), traces=name != "AMC")
    assert [problem.answer for problem in found.problems] == answers
    assert found.left_out.keys() == reasons
    assert len(found.problems) + sum(found.left_out.values()) == len(rows)
    if name != "AMC":
        assert all("\\boxed{" in problem.trace for problem in found.problems)


def test_columns_of_mixed_types_cost_only_the_rows_that_hold_no_text(tmp_path):
    rows = [*GSM8K[:1], {"question": 17, "answer": "x\n#### 1"}, {"question": ["a", "b"], "answer": "x\n#### 1"}]
    found = read_problems(DatasetSpec(source=write(tmp_path / "rows.jsonl", rows), format="GSM8K"), PromptSpec())
    assert [problem.prompt for problem in found.problems] == [GSM8K[0]["question"], "17"]
    assert found.left_out == {"'question' is a list, not text, first in row 3": 1}
