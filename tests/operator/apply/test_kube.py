import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio.client import Configuration

from igpo_operator.apply import errors
from igpo_operator.apply.kube import Account, Kube
from igpo_operator.apply.resources import LEASES, PODS
from operatorworld.http import serving


class Server:
    """Gives the prepared answers in order, and keeps what was asked."""

    def __init__(self, *answers: tuple[int, dict[str, Any]] | tuple[int, dict[str, Any], dict[str, str]]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str, dict[str, str], dict[str, str], Any]] = []
        self.slept: list[float] = []
        self.seen: list[tuple[str, str, int]] = []

    async def answer(self, request: web.Request) -> web.Response:
        text = await request.text()
        body = json.loads(text) if text else None
        self.asked.append((request.method, request.path, dict(request.query), request.headers.copy(), body))
        code, content, *headers = self.answers.pop(0)
        if code == 0:
            request.transport.abort()
        return web.json_response(content, status=code or 500, headers=headers[0] if headers else None)


def _ask(server: Server, question: Callable[[Kube], Awaitable[Any]]) -> Any:
    async def ask() -> Any:
        async def sleep(seconds: float) -> None:
            server.slept.append(seconds)

        async with serving(server.answer) as port:
            configuration = Configuration(host=f"http://127.0.0.1:{port}")
            configuration.api_key["BearerToken"] = "Bearer secret"
            kube = Kube(configuration, observe=lambda *seen: server.seen.append(seen), sleep=sleep)
            try:
                return await question(kube)
            finally:
                await kube.close()

    return asyncio.run(ask())


def _status(reason: str, message: str = "why") -> dict[str, Any]:
    return {"kind": "Status", "reason": reason, "message": message}


def test_an_object_is_read_with_the_token() -> None:
    server = Server((200, {"kind": "Pod"}))
    assert _ask(server, lambda kube: kube.get(PODS, "team", "p")) == {"kind": "Pod"}
    [(method, path, _, headers, _)] = server.asked
    assert (method, path, headers["authorization"]) == ("GET", "/api/v1/namespaces/team/pods/p", "Bearer secret")
    assert server.seen == [("get", "pods", 200)]


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ({"username": "system:serviceaccount:home:igpo", "uid": "u"}, Account("home", "igpo", "u")),
        ({"username": "system:serviceaccount:home:igpo"}, None),
        ({"username": "kubernetes-admin", "uid": "u"}, None),
        ({}, None),
    ],
)
def test_a_client_knows_its_service_account_if_it_has_one(user: dict[str, str], expected: Account | None) -> None:
    server = Server((201, {"status": {"userInfo": user}}))
    assert _ask(server, lambda kube: kube.account()) == expected
    [(method, path, _, _, body)] = server.asked
    assert (method, path) == ("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews")
    assert body == {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}


@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [
        (404, "NotFound", errors.NotFoundError),
        (409, "Conflict", errors.ConflictError),
        (409, "AlreadyExists", errors.AlreadyExistsError),
        (403, "Forbidden", errors.RefusedError),
        (422, "Invalid", errors.RefusedError),
        (400, "BadRequest", errors.RefusedError),
        (405, "MethodNotAllowed", errors.ApiError),
    ],
)
def test_an_error_that_will_not_pass_is_raised_at_once(code: int, reason: str, expected: type[Exception]) -> None:
    server = Server((code, _status(reason)))
    with pytest.raises(expected, match="why") as caught:
        _ask(server, lambda kube: kube.get(PODS, "team", "p"))
    assert type(caught.value) is expected
    assert server.slept == []


def test_a_busy_server_is_asked_again_after_the_time_it_names() -> None:
    server = Server((0, {}), (429, _status("TooManyRequests"), {"Retry-After": "3"}), (503, {}), (200, {"ok": 1}))
    assert _ask(server, lambda kube: kube.annotate(PODS, "team", "p", "u", {})) == {"ok": 1}
    assert server.slept[1] == 3
    assert len(server.slept) == 3
    assert [code for _, _, code in server.seen] == [0, 429, 503, 200]


def test_a_server_that_stays_away_is_given_up_and_never_waited_for_long() -> None:
    server = Server(*[(500, _status("InternalError"), {"Retry-After": "9999"})] * 6)
    with pytest.raises(errors.UnavailableError, match="500 why"):
        _ask(server, lambda kube: kube.get(PODS, "team", "p"))
    assert max(server.slept) == 30


def test_a_collection_is_read_in_pages_and_only_what_is_kept_stays() -> None:
    pages = [
        (200, {"items": [{"n": 1}, {"n": 2}], "metadata": {"continue": "more", "resourceVersion": "7"}}),
        (200, {"items": [{"n": 3}], "metadata": {"resourceVersion": "7"}}),
    ]
    server = Server(*pages)
    keep = lambda body: (body["kind"], body["n"]) if body["n"] != 2 else None  # noqa: E731
    listing = _ask(server, lambda kube: kube.list(PODS, None, keep, labels="igpo.dev/run"))
    assert listing.items == [("Pod", 1), ("Pod", 3)]
    assert listing.resource_version == "7"
    first, second = [query for _, _, query, _, _ in server.asked]
    assert first == {"limit": "500", "labelSelector": "igpo.dev/run"}
    assert second["continue"] == "more"


def test_every_write_says_what_it_must() -> None:
    server = Server(*[(200, {})] * 5)
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "team", "name": "p"}}

    async def write(kube: Kube) -> None:
        await kube.create(pod)
        await kube.apply(pod)
        await kube.replace(pod, subresource="status")
        await kube.annotate(PODS, "team", "p", "uid-1", {"a": "b"})
        await kube.delete(PODS, "team", "p", "uid-1", 0)

    _ask(server, write)
    calls = [(method, path, headers["Content-Type"]) for method, path, _, headers, _ in server.asked]
    assert calls == [
        ("POST", "/api/v1/namespaces/team/pods", "application/json"),
        ("PATCH", "/api/v1/namespaces/team/pods/p", "application/apply-patch+yaml"),
        ("PUT", "/api/v1/namespaces/team/pods/p/status", "application/json"),
        ("PATCH", "/api/v1/namespaces/team/pods/p", "application/merge-patch+json"),
        ("DELETE", "/api/v1/namespaces/team/pods/p", "application/json"),
    ]
    assert server.asked[1][2] == {"fieldManager": "igpo-operator", "force": "true"}
    assert server.asked[3][4] == {"metadata": {"uid": "uid-1", "annotations": {"a": "b"}}}
    assert server.asked[4][4]["preconditions"] == {"uid": "uid-1"}
    assert server.asked[4][4]["gracePeriodSeconds"] == 0


def test_an_answer_that_is_no_json_is_still_an_error_with_its_text() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=404, text="page not found")

    server = Server()
    server.answer = answer
    with pytest.raises(errors.NotFoundError, match="page not found"):
        _ask(server, lambda kube: kube.get(LEASES, "team", "x"))


def test_the_credentials_can_be_passed_on() -> None:
    server = Server()
    connection = _ask(server, lambda kube: kube.connection())
    assert connection.token == "secret"
    assert connection.server.startswith("http://127.0.0.1:")
