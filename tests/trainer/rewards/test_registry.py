import sys

import pytest

from igpo_trainer.rewards.registry import NonFiniteRewardError, call_reward, known_rewards, load_reward
from igpo_trainer.spec.errors import InvalidRunError


@pytest.fixture
def installed_reward(tmp_path, monkeypatch):
    """A real distribution on the path, with an entry point, as `pip install` leaves it."""
    (tmp_path / "brevity_reward.py").write_text(
        "def brevity(prompt, completion, answer):\n    return 1.0 / (1 + len(completion))\n\nnot_callable = 3\n"
    )
    info = tmp_path / "brevity_reward-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: brevity-reward\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[igpo.rewards]\nbrevity = brevity_reward:brevity\nbroken = brevity_reward:absent\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield "brevity"
    sys.modules.pop("brevity_reward", None)


def test_an_entry_point_is_found_by_name(installed_reward):
    assert load_reward(installed_reward)("p", "abc", "a") == 0.25
    assert installed_reward in known_rewards()


def test_a_function_is_found_by_module_and_name(installed_reward):
    assert load_reward("brevity_reward:brevity")("p", "", "a") == 1.0


@pytest.mark.parametrize(
    "name", ["brevty", "brevity_reward:absent", "no_such_module:f", "broken", "brevity_reward:not_callable"]
)
def test_an_unknown_reward_is_an_error_that_lists_the_known(installed_reward, name):
    with pytest.raises(InvalidRunError) as error:
        load_reward(name)
    assert name in str(error.value)
    assert installed_reward in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["correctness", "format"])
def test_built_in_names_cannot_be_taken(name):
    with pytest.raises(InvalidRunError, match=f"weight is rewards.{name}"):
        load_reward(name)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_reward_that_is_not_finite_is_an_error(value):
    with pytest.raises(NonFiniteRewardError, match=str(value)):
        call_reward(lambda *_: value, "", "", "")
