"""The protocol of a verifier process, spoken with a real one."""

import json
import subprocess
import sys

import pytest


def converse(*messages):
    """What a worker answers to these lines, and how it ends when they end."""
    lines = "".join(json.dumps(message) + "\n" for message in messages)
    command = [sys.executable, "-m", "igpo_trainer.rewards.worker"]
    done = subprocess.run(command, input=lines, capture_output=True, text=True, check=False, timeout=60)
    return [json.loads(line) for line in done.stdout.splitlines()], done


@pytest.fixture
def setup(tmp_path):
    (tmp_path / "loud_rewards.py").write_text(
        "import sys\n"
        "def loud(prompt, completion, answer):\n"
        "    print('noise')\n"
        "    assert sys.stdin.read() == '', 'the protocol is out of reach'\n"
        "    return {'half': 0.5, 'many': 1e400}[prompt]\n"
    )
    return {"path": [*sys.path, str(tmp_path)], "rewards": ["loud_rewards:loud"], "deadline": 10}


def test_each_evaluation_gets_one_line_in_order_and_the_end_of_input_ends_the_worker(setup):
    chunks = [
        [["correctness", "", r"\boxed{2\sqrt3}", r"\sqrt{12}"], ["correctness", "", r"\boxed{x}", "5"]],
        [["loud_rewards:loud", "half", "", ""]],
    ]
    answers, done = converse(setup, *chunks)
    assert answers == [{"ready": True}, 1.0, 0.0, 0.5]
    assert done.returncode == 0


def test_what_a_reward_prints_goes_to_standard_error(setup):
    answers, done = converse(setup, [["loud_rewards:loud", "half", "", ""]])
    assert answers == [{"ready": True}, 0.5]
    assert "noise" in done.stderr


def test_a_failure_is_a_reason_and_is_logged_once(setup):
    answers, done = converse(setup, [["loud_rewards:loud", prompt, "", ""] for prompt in ("none", "none", "many")])
    assert answers[1:] == ["error: KeyError", "error: KeyError", "error: NonFiniteRewardError"]
    assert done.stderr.count("KeyError") == 1


def test_an_unknown_reward_is_answered_with_an_error(setup):
    answers, done = converse({**setup, "rewards": ["loud_rewards:absent"]})
    assert [list(answer) for answer in answers] == [["error"]]
    assert "loud_rewards:absent" in answers[0]["error"]
    assert done.returncode == 0
