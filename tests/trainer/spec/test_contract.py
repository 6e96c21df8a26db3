import json

from hypothesis import given
from hypothesis import strategies as st

from igpo_trainer.spec.contract import (
    TERMINATION_MESSAGE_BYTES,
    CheckpointStatus,
    ExitCode,
    RewriteStatus,
    TerminationMessage,
)
from igpo_trainer.spec.errors import InterruptedRunError, InvalidDataError, InvalidRunError, RunError

long_text = st.one_of(
    st.text(max_size=60), st.builds(lambda char, n: char * n, st.characters(codec="utf-8"), st.integers(0, 9000))
)


@given(st.sampled_from(ExitCode), long_text, st.lists(long_text, max_size=6), st.integers(0, 10**9) | st.none())
def test_a_termination_message_is_json_that_fits_and_keeps_code_step_and_newest_lines(code, reason, lines, step):
    data = TerminationMessage(code=code, reason=reason, step=step, checkpoint="step-12", last_lines=lines).encode()
    assert len(data) <= TERMINATION_MESSAGE_BYTES
    read = json.loads(data)
    assert (read["code"], read["step"], read["checkpoint"]) == (code, step, "step-12")
    assert reason.startswith(read["reason"])
    assert read["last_lines"] == lines[len(lines) - len(read["last_lines"]) :]
    if read["last_lines"]:
        assert read["reason"] == reason


def test_a_message_that_has_to_be_cut_keeps_what_chaining_needs():
    best = CheckpointStatus(step=12, path="/var/lib/igpo/IGPOTraining/x/checkpoints/step-12", digest="a" * 64)
    message = TerminationMessage(code=0, reason="done", latest=best, best=best, last_lines=["x" * 400] * 20)
    read = TerminationMessage.model_validate_json(message.encode())
    assert (read.latest, read.best) == (best, best)
    assert 0 < len(read.last_lines) < 20


def test_a_message_that_has_to_be_cut_keeps_how_far_the_rewrite_was():
    status = RewriteStatus(rows=10**9, done=10**9, tokens=10**12, token_budget=10**12, eta_seconds=1e9)
    message = TerminationMessage(code=64, reason="x" * 5000, rewrite=status, last_lines=["y" * 400] * 20)
    assert TerminationMessage.model_validate_json(message.encode()).rewrite == status


def test_a_message_of_a_newer_version_is_read():
    assert TerminationMessage.model_validate_json('{"code": 1, "reason": "x", "news": 3}').code == 1


def test_each_error_has_the_exit_code_of_the_contract():
    codes = {
        error: error("x").exit_code for error in (RunError, InvalidRunError, InvalidDataError, InterruptedRunError)
    }
    assert list(codes.values()) == [1, 64, 65, 75]
