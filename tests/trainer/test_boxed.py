from hypothesis import given
from hypothesis import strategies as st

from igpo_trainer.boxed import boxes, last_boxed


def test_the_last_box_wins():
    assert last_boxed(r"first \boxed{1}, no: \boxed{2} then words") == "2"


def test_nested_braces_are_kept_whole():
    assert last_boxed(r"so \boxed{\frac{1}{2^{3}}} .") == r"\frac{1}{2^{3}}"


def test_a_box_within_a_box_belongs_to_the_outer_one():
    assert last_boxed(r"\boxed{\boxed{7}}") == r"\boxed{7}"


def test_escaped_braces_do_not_balance():
    assert last_boxed(r"\boxed{\{1, 2\}}") == r"\{1, 2\}"
    assert last_boxed(r"\boxed{\left\{ x }") == r"\left\{ x"


def test_a_box_cut_off_by_the_end_is_none():
    assert last_boxed(r"\boxed{12") is None
    assert last_boxed(r"\boxed{3} and \boxed{12") == "3"


def test_text_without_a_box_has_none():
    assert last_boxed("the answer is 5") is None
    assert last_boxed(r"\boxed 5") is None
    assert last_boxed("") is None


def test_space_around_the_braces_does_not_matter():
    assert last_boxed(r"\boxed { 10 }") == "10"


def test_a_box_after_an_unclosed_one_is_found():
    assert last_boxed(r"\boxed{{ and \boxed{4}") == "4"


@given(st.text(alphabet="a1{}\\ ,", max_size=12), st.text(max_size=20))
def test_positions_and_content_agree(inner, before):
    text = f"{before}\\boxed{{{inner}}}"
    for box in boxes(text):
        command = text[box.start : box.end]
        assert command.startswith("\\boxed{")
        assert command.endswith("}")
        assert command[7:-1].strip() == box.content
