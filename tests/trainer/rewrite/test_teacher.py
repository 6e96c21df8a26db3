import asyncio
import json
import logging

import pytest

from igpo_teacher.faults import Faults
from igpo_trainer.rewrite.assignment import Assignment
from igpo_trainer.rewrite.patience import TransientError
from igpo_trainer.rewrite.teacher import RefusedError, Teacher, check_address
from igpo_trainer.spec.errors import InvalidRunError, RunError

KEY = "sk-do-not-tell-anybody"


def ask(desk, base_url, *, key=None, timeout=30.0, **rewrite):
    """One request to a teacher; its answer."""
    spec = desk.spec_of(base_url, rows=1, **rewrite)
    (row,) = desk.rows_of(spec)

    async def work():
        async with Teacher(Assignment.of(spec), key, timeout) as teacher:
            return await teacher.ask(row.request)

    return asyncio.run(work())


def test_an_answer_has_its_text_and_what_it_cost(desk, teacher):
    answer = ask(desk, teacher.base_url)
    assert "so" not in answer.text
    assert r"\boxed{" in answer.text
    assert answer.finish == "stop"
    assert answer.completion_tokens == len(answer.text.split())
    assert answer.prompt_tokens > answer.completion_tokens


def test_the_request_says_what_the_spec_says(desk, teacher):
    ask(desk, teacher.base_url, maxTokens=77)
    ask(desk, teacher.base_url, temperature=0.0)
    plain, greedy = teacher.bodies
    assert (plain["model"], plain["max_tokens"], "temperature" in plain) == ("short", 77, False)
    assert greedy["temperature"] == 0.0
    assert [message["role"] for message in plain["messages"]] == ["user"]


def test_an_answer_at_the_limit_says_that_it_is_cut_off(desk, teacher):
    assert ask(desk, teacher.base_url, maxTokens=2).finish == "length"


def test_an_answer_that_does_not_say_what_it_cost_counts_at_its_upper_bound(desk, teacher):
    teacher.faults = Faults(no_usage=1.0)
    answer = ask(desk, teacher.base_url, maxTokens=500)
    sent = teacher.bodies[-1]["messages"][0]["content"]
    assert (answer.prompt_tokens, answer.completion_tokens) == (len(sent.encode()) + 64, 500)


@pytest.mark.parametrize(
    ("faults", "message", "wait", "may_have_cost"),
    [
        (Faults(rate_limited=1.0, retry_after="7"), "429: .*Rate limit reached", 7.0, False),
        (Faults(failing=1.0), "500: .*The server had an error", None, False),
        (Faults(cut_json=1.0), "unreadable answer: ", None, True),
        (Faults(dropped=1.0), "disconnected|closed|[Cc]onnection", None, False),
        (Faults(slow=1.0, slow_seconds=5.0), "no answer in time", None, True),
    ],
)
def test_what_may_pass_is_told_from_what_will_not(desk, teacher, faults, message, wait, may_have_cost):
    teacher.faults = faults
    with pytest.raises(TransientError, match=message) as caught:
        ask(desk, teacher.base_url, timeout=0.5 if faults.slow else 30.0)
    assert (caught.value.wait_seconds, caught.value.may_have_cost) == (wait, may_have_cost)


def test_a_request_that_the_teacher_refuses_is_not_the_fault_of_the_others(desk, teacher):
    teacher.faults = Faults(refused=1.0)
    with pytest.raises(RefusedError, match=r"400: .*against the rules"):
        ask(desk, teacher.base_url)


def test_a_teacher_that_is_down_may_come_up(desk):
    with pytest.raises(TransientError, match=r"attempts failed|refused"):
        ask(desk, "http://127.0.0.1:9/v1")


def test_an_unknown_model_is_said_with_its_name_and_the_remedy(desk, teacher):
    teacher.model = "another"
    with pytest.raises(InvalidRunError, match=r"knows no model 'short'.* \(404: .*correct rewrite\.teacher\.model"):
        ask(desk, teacher.base_url)


def test_a_refused_key_is_said_without_the_key(desk, teacher, caplog, monkeypatch):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-another-service")
    teacher.key = "the right one"
    with pytest.raises(InvalidRunError, match=r"refuses the key in IGPO_TEACHER_API_KEY \(401: ") as caught:
        ask(desk, teacher.base_url, key=KEY)
    assert "Incorrect API key provided: ***" in str(caught.value)
    assert caught.value.__cause__ is None
    assert KEY not in caplog.text
    with pytest.raises(InvalidRunError, match="refuses a request without a key") as caught:
        ask(desk, teacher.base_url)
    assert "another-service" not in str(caught.value)


def test_the_key_is_sent_and_never_logged(desk, teacher, caplog):
    caplog.set_level(logging.DEBUG)
    teacher.key = KEY
    assert ask(desk, teacher.base_url, key=KEY).text
    assert KEY not in caplog.text


@pytest.mark.parametrize("body", [b"{}", b'{"choices": []}', b'{"choices": [{"index": 0}]}', b'"text"', b"null"])
def test_json_that_is_no_completion_is_as_good_as_cut_off(desk, teacher, monkeypatch, body):
    monkeypatch.setattr("igpo_teacher.server._Handler._completion", lambda *_, **__: body)
    with pytest.raises(TransientError, match="unreadable answer"):
        ask(desk, teacher.base_url)


@pytest.mark.parametrize("status", [402, 429])
def test_an_account_without_credit_is_no_passing_trouble(desk, teacher, monkeypatch, status):
    error = json.dumps({"error": {"message": "top up", "code": "insufficient_quota"}}).encode()
    monkeypatch.setattr("igpo_teacher.server._Handler._answer", lambda self, *_: self._send(status, error) or False)
    with pytest.raises(RunError, match=rf"is out of credit \({status}: .*top up"):
        ask(desk, teacher.base_url)


@pytest.mark.parametrize("address", ["localhost:8000/v1", "ftp://host/v1", "https://", "https:///v1"])
def test_an_address_that_is_none_is_refused(address):
    with pytest.raises(InvalidRunError, match=r"baseUrl .* is no web address; give one such as https://host/v1"):
        check_address(address)


def test_a_password_in_the_address_is_refused_and_not_repeated():
    with pytest.raises(InvalidRunError, match="holds a user name or password") as caught:
        check_address("https://me:secret@host/v1")
    assert "secret" not in str(caught.value).replace("Secret", "")
    check_address("https://host:8443/v1/projects/a@b")
