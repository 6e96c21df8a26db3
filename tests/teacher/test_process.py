"""The teacher as a process of its own, as people at a desk and pods start it."""

import json
import os
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest

MESSAGE = "Shorten it.\n\nProblem:\nhow many ?\n\nSolution:\n4 * 2 = 8 so he now has 8 \\boxed{ 8 }\n\nFinal answer: 8"


@pytest.fixture
def address():
    command = [sys.executable, "-m", "igpo_teacher", "--key-variable", "TEACHER_KEY", "--model", "brief"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), "TEACHER_KEY": "sk-1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        yield process.stdout.readline().strip().removesuffix("/v1")
        process.kill()


def request(address, path, body=None, key="sk-1", method="POST"):
    sent = urllib.request.Request(
        f"{address}{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {key}"},
        method=method,
    )
    with urllib.request.urlopen(sent, timeout=30) as answer:
        return json.load(answer)


def question(model="brief"):
    return {"model": model, "max_tokens": 100, "messages": [{"role": "user", "content": MESSAGE}]}


def test_it_shortens_traces_for_those_who_have_its_key(address):
    said = request(address, "/v1/chat/completions", question())
    assert said["choices"][0]["message"]["content"] == "4 * 2 = 8 \\boxed{ 8 }"
    for body, key, code in ((question(), "sk-2", 401), (question("long"), "sk-1", 404)):
        with pytest.raises(urllib.error.HTTPError) as refused:
            request(address, "/v1/chat/completions", body, key)
        assert refused.value.code == code
        refused.value.close()


def test_it_can_be_held_and_counted_from_outside(address):
    request(address, "/control/hold?after=0")
    asked = threading.Thread(target=request, args=(address, "/v1/chat/completions", question()))
    asked.start()
    while (counts := request(address, "/control/counts", method="GET"))["inFlight"] == 0:
        assert asked.is_alive()
    assert (counts["asked"], counts["answered"]) == ({"how many ?": 1}, {})
    request(address, "/control/release")
    asked.join(30)
    counts = request(address, "/control/counts", method="GET")
    assert (counts["answered"], counts["inFlight"]) == ({"how many ?": 1}, 0)
