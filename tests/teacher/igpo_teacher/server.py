"""The teacher: POST /v1/chat/completions over real HTTP. Shortens the verbose traces of the built-in task."""

import json
import re
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from igpo_teacher.control import control
from igpo_teacher.faults import Faults

_ASKED = re.compile(
    r"\nProblem:\n(?P<problem>.*)\n\nSolution:\n(?P<solution>.*)\n\nFinal answer: (?P<answer>.*)$", re.S
)
_SPOKEN = re.compile(r"(\d+) so s?he now has \1\b")


def shortened(solution: str) -> str:
    """A verbose trace of the built-in task as its concise one: `4 * 2 = 8 so he now has 8 - 5 = 3` without talk."""
    return _SPOKEN.sub(r"\1", solution)


class TeacherServer(ThreadingHTTPServer):
    """A context manager: serves from another thread while open, and keeps count. Attributes may change at any time."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(
        self,
        *,
        address: str = "127.0.0.1",
        port: int = 0,
        key: str | None = None,
        model: str = "short",
        faults: Faults | None = None,
    ) -> None:
        super().__init__((address, port), _Handler)
        self.key = key
        self.model = model
        self.faults = faults or Faults()
        self.asked: Counter[str] = Counter()
        """Requests by problem, also those that were not answered well."""
        self.answered: Counter[str] = Counter()
        """Whole answers that were sent, by problem."""
        self.given: Counter[str] = Counter()
        """Requests by fault; "none" for good answers."""
        self.bodies: list[dict] = []
        """The last requests, as sent."""
        self.most_in_flight = 0
        self.in_flight = 0
        self.news = threading.Condition()
        self._pass_until: int | None = None
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def base_url(self) -> str:
        return f"http://{self.server_address[0]}:{self.server_address[1]}/v1"

    def hold_after(self, requests: int) -> None:
        """Answer so many requests from now on and let the others wait until `release`."""
        with self.news:
            self._pass_until = self.asked.total() + requests

    def release(self) -> None:
        with self.news:
            self._pass_until = None
            self.news.notify_all()

    def wait_for(self, condition, seconds: float = 150.0) -> None:
        """Wait until condition(self) is true; it is looked at whenever a request comes or goes."""
        with self.news:
            assert self.news.wait_for(lambda: condition(self), seconds), "the teacher waited in vain"

    def admit(self, problem: str) -> int:
        """Count a request in, wait while held; how often this problem has been asked."""
        with self.news:
            self.asked[problem] += 1
            number, asked = self.asked.total(), self.asked[problem]
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
            self.news.notify_all()
            self.news.wait_for(lambda: self._pass_until is None or number <= self._pass_until)
        return asked

    def leave(self, problem: str, fault: str | None, *, whole: bool) -> None:
        with self.news:
            self.in_flight -= 1
            self.given[fault or "none"] += 1
            self.answered[problem] += whole
            self.news.notify_all()

    def handle_error(self, request, client_address) -> None:
        """A client that went away is no news."""

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.release()
        self.shutdown()
        self.server_close()
        self._thread.join(10)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: TeacherServer
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_GET(self) -> None:
        self._control("GET")

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path != "/v1/chat/completions":
            return self._control("POST")
        body = json.loads(raw)
        server = self.server
        server.bodies = [*server.bodies[-9:], body]
        sent = self.headers.get("Authorization", "")
        if server.key is not None and sent != f"Bearer {server.key}":
            return self._refuse(401, f"Incorrect API key provided: {sent.removeprefix('Bearer ')}")
        if body["model"] != server.model:
            return self._refuse(404, f"The model `{body['model']}` does not exist")
        asked = _ASKED.search(body["messages"][-1]["content"])
        problem = asked["problem"]
        fault = server.faults.of(problem, server.admit(problem))
        whole = False
        try:
            whole = self._answer(fault, asked, body)
        finally:
            server.leave(problem, fault, whole=whole)
        return None

    def _control(self, method: str) -> None:
        counts = control(self.server, method, self.path)
        if counts is None:
            return self._refuse(404, f"no such path: {self.path}")
        return self._send(200, json.dumps(counts).encode())

    def _answer(self, fault: str | None, asked: re.Match, body: dict) -> bool:
        match fault:
            case "rate_limited":
                self._refuse(429, "Rate limit reached", {"Retry-After": self.server.faults.retry_after})
                return False
            case "failing":
                self._refuse(500, "The server had an error")
                return False
            case "refused":
                self._refuse(400, "This problem is against the rules")
                return False
            case "dropped":
                self.close_connection = True
                return False
            case "slow":
                threading.Event().wait(self.server.faults.slow_seconds)
        text = shortened(asked["solution"])
        if fault == "wrong":
            text = re.sub(r"\\boxed\{.*\}", r"\\boxed{ 99 }", text)
        if fault == "overlong":
            text = f"{asked['solution']} " * 3 + text
        answer = self._completion(text, body, usage=fault != "no_usage")
        self._send(200, answer[: len(answer) // 2] if fault == "cut_json" else answer)
        return fault != "cut_json"

    def _completion(self, text: str, body: dict, *, usage: bool) -> bytes:
        read, words = len(body["messages"][-1]["content"].split()), text.split()
        finish = "stop"
        if len(words) > body["max_tokens"]:
            words, finish = words[: body["max_tokens"]], "length"
        completion = {
            "id": "c", "object": "chat.completion", "created": 0, "model": body["model"],
            "choices": [{"index": 0, "finish_reason": finish,
                         "message": {"role": "assistant", "content": " ".join(words)}}],
        }  # fmt: skip
        if usage:
            written = len(words)
            completion["usage"] = {
                "prompt_tokens": read,
                "completion_tokens": written,
                "total_tokens": read + written,
            }
        return json.dumps(completion).encode()

    def _refuse(self, status: int, message: str, headers: dict | None = None) -> None:
        self._send(status, json.dumps({"error": {"message": message, "type": "error", "code": None}}).encode(), headers)

    def _send(self, status: int, body: bytes, headers: dict | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, *_) -> None:
        """Say nothing."""
