import pytest
from hypothesis import given
from hypothesis import strategies as st

from igpo_trainer.rewrite.answers import Answer, AnswerFile
from igpo_trainer.rewrite.assignment import Request
from igpo_trainer.spec.errors import InvalidDataError


def answer(key, text="short", read=10, written=3):
    return Answer(key=key, text=text, finish="stop", prompt_tokens=read, completion_tokens=written)


def test_an_answer_is_found_by_its_request_also_by_the_next_process(tmp_path):
    with AnswerFile(tmp_path) as file:
        file.add(answer("a"))
        assert file.get(Request("a", "")) == answer("a")
        assert file.get(Request("b", "")) is None
    with AnswerFile(tmp_path) as again:
        assert again.get(Request("a", "")) == answer("a")
        assert len(again) == 1


def test_a_lost_answer_costs_and_answers_nothing(tmp_path):
    with AnswerFile(tmp_path) as file:
        file.add(answer("a", text=None, read=100, written=50))
        assert file.get(Request("a", "")) is None
        file.add(answer("a"))
    with AnswerFile(tmp_path) as again:
        assert (again.spent, again.prompt_tokens, again.completion_tokens) == (163, 110, 53)
        assert again.get(Request("a", "")).text == "short"


@given(st.integers(min_value=0, max_value=400))
def test_a_kill_in_the_middle_of_a_line_costs_that_line_only(tmp_path_factory, cut):
    folder = tmp_path_factory.mktemp("answers")
    with AnswerFile(folder) as file:
        for key in "abc":
            file.add(answer(key))
    path = folder / "answers.jsonl"
    data = path.read_bytes()
    path.write_bytes(data[: max(0, len(data) - cut)])
    whole = path.read_bytes().count(b"\n")
    with AnswerFile(folder) as again:
        assert len(again) == whole
        again.add(answer("d"))
    with AnswerFile(folder) as last:
        assert len(last) == whole + 1


def test_a_damaged_line_is_named_and_nothing_is_thrown_away(tmp_path):
    path = tmp_path / "answers.jsonl"
    path.write_text('{"key": "a"}\n')
    with pytest.raises(InvalidDataError, match=r"answers\.jsonl:1: text: Field required; remove the line"):
        AnswerFile(tmp_path)
    assert path.read_text() == '{"key": "a"}\n'
