r"""Every format on rows in its set's own schema, written for these tests."""

from pathlib import Path

import pytest

from igpo_trainer.data.columns import MissingColumnError, UnusableRowError, UnwantedRowError
from igpo_trainer.data.formats import FORMATS, KNOWN_SETS, fitting_format, known_set

GSM8K = {
    "question": "Ann packs 6 crates of 40 pears and eats 3. How many are left?",
    "answer": "She packs 6*40 = <<6*40=240>>240 pears.\nLeft are 240-3 = $<<240-3=237>>237.\n#### 237",
}
MATH = {
    "problem": "What is $\\frac{1}{4}+\\frac{1}{4}$?",
    "level": "Level 2",
    "type": "Prealgebra",
    "solution": "First $\\boxed{1}$ quarter, then two: $\\boxed{\\frac{1}{2}}$.",
}
MATH500 = {
    "problem": "How many primes lie below 10?",
    "solution": "They are $2,3,5,7$, that is $\\boxed{4}$.",
    "answer": "4",
    "subject": "Number Theory",
    "level": 3,
    "unique_id": "test/number_theory/1.json",
}
META = {
    "type": "GSM_AnsAug",
    "query": "Ben has 2 dogs and 3 cats. How many pets?",
    "original_question": "Ben has 2 dogs and 3 cats. How many pets?",
    "response": "He has 2 + 3 = 5 pets.\n#### 5\nThe answer is: 5",
}
OPEN_R1 = {
    "problem": "Find $x$ with $x+1=3$.",
    "solution": "$x=2$.",
    "answer": "2",
    "problem_type": "Algebra",
    "question_type": "math-word-problem",
    "source": "olympiads",
    "uuid": "0",
    "is_reasoning_complete": [True, True, True],
    "generations": [
        "<think>\nx is 3?\n</think>\n\nThus $\\boxed{3}$.",
        "<think>\nSubtract 1.\n</think>\n\nThus $\\boxed{2}$.",
        "later",
    ],
    "correctness_math_verify": [False, True, True],
    "correctness_llama": None,
    "finish_reasons": None,
    "correctness_count": 2,
    "messages": [{"role": "user", "content": "Find $x$ with $x+1=3$."}],
}
AMC = {"id": 3, "question": "How many sides has a square?", "answer": "4", "url": "https://example.org/amc"}
MINERVA = {"question": "What is the speed of light in m/s, to one digit?", "answer": "$3e8$"}


def parts(name, row):
    return FORMATS[name].read(row)


def reason(name, row):
    with pytest.raises(UnusableRowError) as caught:
        parts(name, row)
    return caught.value.reason


def test_gsm8k_answers_stand_behind_the_mark_and_calculator_notes_go():
    read = parts("GSM8K", GSM8K)
    assert read.answer == "237"
    assert read.trace == "She packs 6*40 = 240 pears.\nLeft are 240-3 = $237."
    assert read.difficulty == "2 steps"


@pytest.mark.parametrize(
    ("answer", "difficulty"),
    [("a\n#### 1", "1 step"), ("\n".join("abcdefgh") + "\n#### 1", "8 or more steps"), ("a\n\nb\n#### 1", "2 steps")],
)
def test_a_step_of_gsm8k_is_a_line(answer, difficulty):
    assert parts("GSM8K", GSM8K | {"answer": answer}).difficulty == difficulty


def test_the_last_mark_of_gsm8k_counts():
    assert parts("GSM8K", GSM8K | {"answer": "not #### 4 but\n#### 1,250"}).answer == "1,250"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"answer": "She has 5."}, "no answer"),
        ({"answer": "She has 5.\n####  "}, "no answer"),
        ({"answer": None}, "'answer' is empty"),
        ({"question": ""}, "'question' is empty"),
        ({"question": ["q"]}, "'question' is a list, not text"),
    ],
)
def test_a_gsm8k_row_without_answer_or_text_says_so(change, why):
    assert reason("GSM8K", GSM8K | change) == why


def test_a_gsm8k_row_of_nothing_but_the_answer_has_no_trace():
    assert parts("GSM8K", GSM8K | {"answer": "#### 5"}).trace == ""


def test_the_last_of_several_boxes_is_the_answer_of_math():
    read = parts("MATH", MATH)
    assert (read.answer, read.trace, read.difficulty) == (r"\frac{1}{2}", MATH["solution"], "Level 2")


def test_math500_states_the_answer_in_a_column_and_the_level_as_a_number():
    read = parts("MATH", MATH500 | {"solution": "so $\\boxed{04}$"})
    assert (read.answer, read.difficulty) == ("4", "Level 3")


@pytest.mark.parametrize("box", [r"\fbox{12}", r"\boxed 12", r"\boxed  12 ", r"\boxed{12}"])
def test_odd_boxes_of_math_are_written_the_common_way(box):
    read = parts("MATH", MATH | {"solution": f"There are ${box}$ of them."})
    assert (read.answer, read.trace) == ("12", r"There are $\boxed{12}$ of them.")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"solution": "There are 12."}, "no answer"),
        ({"solution": r"There are $\boxed{}$."}, "no answer"),
        ({"solution": r"cut off at $\boxed{12"}, "no answer"),
        ({"solution": ""}, "'solution' is empty"),
        ({"problem": None}, "'problem' is empty"),
        ({"solution": {"text": "x"}}, "'solution' is a dict, not text"),
    ],
)
def test_a_math_row_without_answer_or_text_says_so(change, why):
    assert reason("MATH", MATH | change) == why


def test_math500_without_solutions_still_has_answers():
    row = {"problem": "q", "answer": "4", "solution": ""}
    assert (parts("MATH", row).answer, parts("MATH", row).trace) == ("4", "")


def test_metamathqa_states_its_answer_once():
    read = parts("MetaMathQA", META)
    assert (read.prompt, read.answer, read.trace) == (META["query"], "5", "He has 2 + 3 = 5 pets.")
    assert read.difficulty == "GSM"


def test_a_box_in_metamathqa_loses_its_frame_because_the_answer_is_stated_behind_it():
    response = "Half of $1$ is $\\boxed{\\frac{1}{2}}$.\nThe answer is: $\\frac{1}{2}$"
    read = parts("MetaMathQA", META | {"type": "MATH_AnsAug", "response": response})
    assert (read.answer, read.trace) == (r"\frac{1}{2}", r"Half of $1$ is $\frac{1}{2}$.")
    assert read.difficulty == "MATH"


@pytest.mark.parametrize("kind", ["GSM_Rephrased", "GSM_SV", "GSM_FOBAR", "MATH_Rephrased", "MATH_SV", "MATH_FOBAR"])
def test_other_types_of_metamathqa_are_left_out_on_purpose(kind):
    with pytest.raises(UnwantedRowError, match="not an AnsAug row"):
        parts("MetaMathQA", META | {"type": kind})


@pytest.mark.parametrize("response", ["He has 5.\n#### 5", "He has 5.\nThe answer is: ", "The answer was: 5"])
def test_a_metamathqa_row_without_answer_says_so(response):
    assert reason("MetaMathQA", META | {"response": response}) == "no answer"


def test_the_last_statement_of_metamathqa_counts():
    response = "The answer is: 4, no.\nThe answer is: 5"
    read = parts("MetaMathQA", META | {"response": response})
    assert (read.answer, read.trace) == ("5", "The answer is: 4, no.")


@pytest.mark.parametrize(
    ("stated", "answer"), [("$5$", "5"), ("$5", "$5"), ("$1$ or $2$", "$1$ or $2$"), ("$", "$"), (r"\$5", r"\$5")]
)
def test_dollars_around_the_whole_answer_are_no_part_of_it(stated, answer):
    assert parts("MetaMathQA", META | {"response": f"So.\nThe answer is: {stated}"}).answer == answer


def test_the_first_complete_and_verified_generation_of_openr1_is_the_trace():
    read = parts("OpenR1", OPEN_R1)
    assert (read.answer, read.trace) == ("2", "Subtract 1.\nThus $\\boxed{2}$.")


@pytest.mark.parametrize(
    ("change", "trace"),
    [
        ({"correctness_math_verify": None, "correctness_llama": [False, False, True]}, "later"),
        ({"is_reasoning_complete": [True, False, True]}, "later"),
        ({"correctness_math_verify": [False, True]}, "Subtract 1.\nThus $\\boxed{2}$."),
    ],
)
def test_either_verifier_of_openr1_is_believed_and_only_whole_generations_count(change, trace):
    assert parts("OpenR1", OPEN_R1 | change).trace == trace


UNVERIFIED = "no generation that is complete and verified"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"answer": "proof"}, "no answer"),
        ({"answer": "notfound"}, "no answer"),
        ({"answer": None}, "no answer"),
        ({"correctness_math_verify": [False, False, False]}, UNVERIFIED),
        ({"correctness_math_verify": None}, UNVERIFIED),
        ({"is_reasoning_complete": [False, False, False]}, UNVERIFIED),
        ({"generations": []}, UNVERIFIED),
        ({"generations": ["x", "  ", None]}, UNVERIFIED),
        ({"generations": None}, "'generations' is empty"),
        ({"generations": "x"}, "'generations' is not a list"),
    ],
)
def test_an_openr1_row_without_answer_or_verified_trace_says_so(change, why):
    assert reason("OpenR1", OPEN_R1 | change) == why


@pytest.mark.parametrize(
    ("row", "answer"),
    [
        (AMC, "4"),
        ({"id": 1, "problem": "q", "answer": 27.0, "url": "u"}, "27"),
        ({"question": "q", "answer": "142.0"}, "142"),
        ({"question": "q", "answer": "2.5"}, "2.5"),
    ],
)
def test_amc_answers_are_numbers_in_any_spelling(row, answer):
    read = parts("AMC", row)
    assert (read.answer, read.trace) == (answer, "")


def test_an_amc_row_without_answer_says_so():
    assert reason("AMC", AMC | {"answer": None}) == "'answer' is empty"


@pytest.mark.parametrize(
    ("row", "answer", "trace"),
    [
        (MINERVA, "$3e8$", ""),
        ({"problem": "q", "solution": r"so \boxed{9.8}", "type": "physics", "idx": 0}, "9.8", r"so \boxed{9.8}"),
        ({"problem": "q", "solution": r"so \boxed{9.8}", "answer": "9.80"}, "9.80", r"so \boxed{9.8}"),
    ],
)
def test_minerva_answers_stand_in_a_column_or_a_box(row, answer, trace):
    read = parts("Minerva", row)
    assert (read.answer, read.trace) == (answer, trace)


def test_a_minerva_row_without_answer_says_so():
    assert reason("Minerva", {"problem": "q", "solution": "so 9.8"}) == "no answer"


@pytest.mark.parametrize("name", FORMATS)
def test_a_row_of_another_schema_names_the_columns(name):
    with pytest.raises(MissingColumnError, match="it has text"):
        parts(name, {"text": "x"})


@pytest.mark.parametrize(
    ("source", "name", "configuration"),
    [
        ("openai/gsm8k", "GSM8K", "main"),
        ("HuggingFaceH4/MATH-500", "MATH", None),
        ("meta-math/MetaMathQA", "MetaMathQA", None),
        ("open-r1/OpenR1-Math-220k", "OpenR1", None),
        ("math-ai/amc23", "AMC", None),
        ("math-ai/minervamath", "Minerva", None),
    ],
)
def test_hub_ids_have_their_format(source, name, configuration):
    known = known_set(source)
    assert (known.format, known.name) == (name, configuration)


def test_no_other_source_has_one():
    assert known_set("someone/gsm8k") is None
    assert known_set("/data/gsm8k") is None


@pytest.mark.parametrize(
    ("row", "name"),
    [
        (GSM8K, "GSM8K"),
        (MATH, "MATH"),
        (MATH500, "MATH"),
        (META, "MetaMathQA"),
        (OPEN_R1, "OpenR1"),
        (AMC, None),
        (MINERVA, None),
    ],
)
def test_rows_that_look_like_a_format_are_recognised_for_advice(row, name):
    assert fitting_format(row) == name


def test_the_manual_lists_every_format_and_hub_id():
    manual = (Path(__file__).parents[3] / "docs" / "datasets.md").read_text().casefold()
    assert [name for name in (*FORMATS, *KNOWN_SETS) if f"`{name.casefold()}`" not in manual] == []
