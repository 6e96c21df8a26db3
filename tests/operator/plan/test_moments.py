"""What status says at typical moments, word for word."""

import pytest

from igpo_operator.api.status import RunStatus
from planworld.moments import FOLDER, MOMENTS, stored, text


@pytest.mark.parametrize("name", MOMENTS)
def test_the_status_of_a_moment_is_as_stored(name):
    assert text(MOMENTS[name]().status) == stored(name), "python -m planworld.moments writes them again"


def test_every_stored_status_belongs_to_a_moment():
    assert {path.stem for path in FOLDER.glob("*.yaml")} == set(MOMENTS)


@pytest.mark.parametrize("name", MOMENTS)
def test_a_person_is_told_one_sentence_with_what_to_do_if_there_is_something_to_do(name):
    status = MOMENTS[name]().status
    assert isinstance(status, RunStatus)
    assert status.message
    assert "\n" not in status.message
    assert len(status.message) < 400
