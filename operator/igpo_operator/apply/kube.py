"""The API server, as plain dicts: the only module that knows the Kubernetes client.

Every request is tried again on 429 (Retry-After honoured), 5xx and lost connections, with exponential back-off. That is
safe because every write of ours is: names are given by us, deletes carry a UID, status carries a resourceVersion.
"""

import asyncio
import json
import os
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import aiohttp
from kubernetes.aio import client as aio_client
from kubernetes.aio import config as aio_config

from igpo_operator.apply.errors import TRANSIENT, ApiError, NoClusterError, UnavailableError, error_of
from igpo_operator.apply.resources import SELF_REVIEWS, Resource, resource_of
from igpo_operator.render.names import MANAGER

T = TypeVar("T")
Body = dict[str, Any]

PAGE_ITEMS: Final = 500
_TIMEOUT: Final = aiohttp.ClientTimeout(total=30, sock_connect=10)
_BACKOFF_SECONDS: Final = (0.2, 0.5, 1.0, 2.0, 4.0)
_LONGEST_RETRY_AFTER_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Connection:
    """Where the API server is and how to log in, for another client (kopf's)."""

    server: str
    ca_path: str | None
    certificate_path: str | None
    key_path: str | None
    token: str | None
    insecure: bool


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """What a LIST gave, as of one resourceVersion."""

    items: list[T]
    resource_version: str


@dataclass(frozen=True, slots=True)
class Account:
    """A service account that exists."""

    namespace: str
    name: str
    uid: str


Observer = Callable[[str, str, int], None]
"""Told of every request: verb, resource (plural), HTTP status (0: no answer)."""


class Kube:
    """A client for as long as its event loop; use `connect` and close it."""

    def __init__(
        self,
        configuration: aio_client.Configuration,
        *,
        observe: Observer = lambda _verb, _resource, _code: None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        namespace: str = "default",
    ) -> None:
        """Use a finished configuration; `connect` finds one, and the namespace that its user works in."""
        self.namespace = namespace
        self._configuration = configuration
        self._client = aio_client.ApiClient(configuration)
        self._client.user_agent = MANAGER
        self._observe = observe
        self._sleep = sleep

    @classmethod
    async def connect(cls, *, context: str | None = None, observe: Observer | None = None) -> "Kube":
        """Log in with the pod's service account, or with KUBECONFIG (~/.kube/config) outside a cluster.

        NoClusterError if neither is there, or the kubeconfig has no such context.
        """
        configuration = aio_client.Configuration()
        namespace = "default"
        try:
            if context is not None:
                raise aio_config.ConfigException("a context was asked for")
            aio_config.load_incluster_config(configuration)  # type: ignore[no-untyped-call]  # the library is untyped
        except aio_config.ConfigException:
            try:
                loader = await aio_config.load_kube_config(  # type: ignore[no-untyped-call]
                    config_file=os.environ.get("KUBECONFIG"),  # the library looked when it was imported
                    context=context,
                    client_configuration=configuration,
                )
                namespace = loader.current_context["context"].get("namespace") or namespace
            except aio_config.ConfigException as error:
                raise NoClusterError(f"no cluster to talk to: {error}; set KUBECONFIG") from error
        return cls(configuration, observe=observe or (lambda _verb, _resource, _code: None), namespace=namespace)

    async def close(self) -> None:
        """Close every connection."""
        await self._client.close()  # type: ignore[no-untyped-call]

    async def connection(self) -> Connection:
        """Credentials as they are now: a service account's token is read again, since it rotates."""
        settings = self._configuration
        authorization = await settings.get_api_key_with_prefix("BearerToken", alias="authorization")
        return Connection(
            server=settings.host,
            ca_path=settings.ssl_ca_cert,
            certificate_path=settings.cert_file,
            key_path=settings.key_file,
            token=authorization.split(" ", 1)[-1].strip() if authorization else None,
            insecure=not settings.verify_ssl,
        )

    async def account(self) -> Account | None:
        """The service account that these requests come from; None for others, e.g. a person with a kubeconfig."""
        manifest = {"apiVersion": SELF_REVIEWS.api_version, "kind": SELF_REVIEWS.kind}
        answer = await self._call("create", "POST", SELF_REVIEWS, SELF_REVIEWS.path(None), (), manifest)
        user = answer["status"]["userInfo"]
        parts, uid = user.get("username", "").split(":"), user.get("uid")
        return Account(parts[2], parts[3], uid) if uid and parts[:2] == ["system", "serviceaccount"] else None

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Body:
        """Read one object."""
        return await self._call("get", "GET", resource, resource.path(namespace, name))

    async def list(
        self,
        resource: Resource,
        namespace: str | None,
        keep: Callable[[Body], T | None],
        *,
        labels: str | None = None,
        fields: str | None = None,
    ) -> Listing[T]:
        """Read a collection page by page; of each object only what `keep` returns stays in memory (None: nothing)."""
        kept: list[T] = []
        query: list[tuple[str, str]] = [("limit", str(PAGE_ITEMS))]
        query += [("labelSelector", labels)] if labels else []
        query += [("fieldSelector", fields)] if fields else []
        token = ""
        while True:
            page = await self._call(
                "list", "GET", resource, resource.path(namespace), query + ([("continue", token)] if token else [])
            )
            for item in page["items"]:
                item.setdefault("kind", resource.kind)
                item.setdefault("apiVersion", resource.api_version)
                one = keep(item)
                if one is not None:
                    kept.append(one)
            token = page["metadata"].get("continue", "")
            if not token:
                return Listing(kept, page["metadata"]["resourceVersion"])

    async def schemas(self, group: str, version: str) -> dict[str, Body]:
        """Schemas that the server publishes for a group's kinds (OpenAPI v3), by kind; NotFoundError if it has none."""
        resource = Resource(group, version, "openapi", "")
        published = await self._call("get", "GET", resource, f"/openapi/v3/apis/{group}/{version}")
        return {
            about["kind"]: schema
            for schema in published["components"]["schemas"].values()
            for about in schema.get("x-kubernetes-group-version-kind", ())
            if about["group"] == group
        }

    async def create(self, manifest: Mapping[str, Any]) -> Body:
        """Create an object; AlreadyExistsError if the name is taken."""
        resource = resource_of(manifest)
        path = resource.path(manifest["metadata"]["namespace"])
        return await self._call("create", "POST", resource, path, [("fieldManager", MANAGER)], dict(manifest))

    async def apply(self, manifest: Mapping[str, Any]) -> Body:
        """Server-side apply with force: for children of ours only, whose owner was looked at first."""
        resource = resource_of(manifest)
        path = resource.path(manifest["metadata"]["namespace"], manifest["metadata"]["name"])
        query = [("fieldManager", MANAGER), ("force", "true")]
        return await self._call(
            "apply", "PATCH", resource, path, query, dict(manifest), content_type="application/apply-patch+yaml"
        )

    async def replace(self, manifest: Mapping[str, Any], *, subresource: str | None = None) -> Body:
        """Write a whole object, or its status; ConflictError if its resourceVersion is no longer the newest."""
        resource = resource_of(manifest)
        path = resource.path(manifest["metadata"]["namespace"], manifest["metadata"]["name"], subresource)
        return await self._call("update", "PUT", resource, path, [("fieldManager", MANAGER)], dict(manifest))

    async def annotate(
        self, resource: Resource, namespace: str, name: str, uid: str, annotations: Mapping[str, str]
    ) -> Body:
        """Set annotations of one object; ConflictError if the name is another object's by now."""
        body = {"metadata": {"uid": uid, "annotations": dict(annotations)}}
        return await self._call(
            "patch",
            "PATCH",
            resource,
            resource.path(namespace, name),
            [("fieldManager", MANAGER)],
            body,
            content_type="application/merge-patch+json",
        )

    async def delete(
        self, resource: Resource, namespace: str, name: str, uid: str, grace_seconds: int | None = None
    ) -> Body:
        """Delete one object by UID; ConflictError if the name is another object's by now; grace 0 forces a pod."""
        body: Body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}}
        body["propagationPolicy"] = "Background"
        if grace_seconds is not None:
            body["gracePeriodSeconds"] = grace_seconds
        return await self._call("delete", "DELETE", resource, resource.path(namespace, name), (), body)

    async def _call(
        self,
        verb: str,
        method: str,
        resource: Resource,
        path: str,
        query: Sequence[tuple[str, str]] = (),
        body: Body | None = None,
        *,
        content_type: str = "application/json",
    ) -> Body:
        request = f"{verb} {path}"
        for attempt in range(len(_BACKOFF_SECONDS) + 1):
            retry_after = 0.0
            try:
                code, retry_after, data = await self._send(method, path, query, body, content_type)
            except (aiohttp.ClientError, OSError, TimeoutError) as lost:
                self._observe(verb, resource.plural, 0)
                error: ApiError = UnavailableError(request, 0, f"no answer ({lost or type(lost).__name__})")
            else:
                self._observe(verb, resource.plural, code)
                if code < 300:
                    return _json(data)
                error = _error(request, code, data)
                if code not in TRANSIENT:
                    raise error
            if attempt == len(_BACKOFF_SECONDS):
                raise error
            pause = _BACKOFF_SECONDS[attempt] * random.uniform(0.5, 1.0)  # noqa: S311  # spreads load, hides nothing
            await self._sleep(max(pause, min(retry_after, _LONGEST_RETRY_AFTER_SECONDS)))
        raise AssertionError("unreachable")

    async def _send(
        self, method: str, path: str, query: Sequence[tuple[str, str]], body: Body | None, content_type: str
    ) -> tuple[int, float, bytes]:
        headers = {"Content-Type": content_type, "Accept": "application/json"}
        method, url, headers, payload, _ = await self._client.param_serialize(
            method, path, query_params=list(query), header_params=headers, body=body, auth_settings=["BearerToken"]
        )
        answer = await self._client.call_api(method, url, headers, payload, _request_timeout=_TIMEOUT)
        data: bytes = await answer.read()  # type: ignore[no-untyped-call]
        retry_after = str(answer.headers.get("Retry-After", ""))
        return answer.status, float(retry_after) if retry_after.isdigit() else 0.0, data


def _json(data: bytes) -> Body:
    value: Body = json.loads(data)
    return value


def _error(request: str, code: int, data: bytes) -> ApiError:
    try:
        status = _json(data)
    except ValueError:
        return error_of(request, code, data[:500].decode(errors="replace"), "")
    return error_of(request, code, str(status.get("message", "")), str(status.get("reason", "")))
