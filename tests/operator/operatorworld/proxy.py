"""A door in front of the API server that sees every write of the operator, and can kill it right behind one."""

import asyncio
import base64
import json
import ssl
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from yarl import URL

_WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_HOP_BY_HOP = frozenset({"connection", "transfer-encoding", "content-length", "content-encoding", "host"})


@dataclass(frozen=True)
class Write:
    """A write that changed something."""

    method: str
    path: str
    code: int


@dataclass
class Door:
    """Forwards to the API server as the administrator; `after_write` is called before the operator gets its answer."""

    kubeconfig: Path
    after_write: Callable[[Write], None]
    writes: list[Write] = field(default_factory=list)
    mute: bool = False
    """Whether watches fall silent while their connections stay."""
    _versions: set[tuple[str, str]] = field(default_factory=set)

    def __enter__(self) -> "Door":
        """Listen on a free port, in a thread with a loop of its own."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="door", daemon=True)
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(30)
        return self

    def __exit__(self, *error: object) -> None:
        """Close every connection."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()

    def kubeconfig_for_operator(self, path: Path) -> Path:
        """A kubeconfig that leads to this door."""
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "door",
            "clusters": [{"name": "door", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
            "users": [{"name": "anyone", "user": {"token": "none"}}],
            "contexts": [{"name": "door", "context": {"cluster": "door", "user": "anyone"}}],
        }
        path.write_text(json.dumps(content))
        return path

    async def _open(self) -> int:
        settings = json.loads(self.kubeconfig.read_text())
        cluster, user = settings["clusters"][0]["cluster"], settings["users"][0]["user"]
        context = ssl.create_default_context(cadata=_decode(cluster["certificate-authority-data"]))
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as pair:
            pair.write(_decode(user["client-certificate-data"]) + _decode(user["client-key-data"]))
            pair.flush()
            context.load_cert_chain(pair.name)
        self._server = str(cluster["server"])
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context, limit=0), timeout=aiohttp.ClientTimeout(total=None)
        )
        app = web.Application(client_max_size=1 << 24)
        app.router.add_route("*", "/{path:.*}", self._forward)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port: int = self._runner.addresses[0][1]
        return port

    async def _close(self) -> None:
        await self._session.close()
        await self._runner.cleanup()
        # Watches of a killed operator: what is left pending would be destroyed, with noise, during some later test.
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._answer(request)
        except ConnectionError:  # the operator is dead
            return web.Response(status=502)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        headers = {k: v for k, v in request.headers.items() if k.lower() not in _HOP_BY_HOP | {"authorization"}}
        body = await request.read()
        url = self._server + request.raw_path
        async with self._session.request(
            request.method, URL(url, encoded=True), headers=headers, data=body or None
        ) as answer:
            response = web.StreamResponse(status=answer.status)
            for name, value in answer.headers.items():
                if name.lower() not in _HOP_BY_HOP:
                    response.headers[name] = value
            if request.method in _WRITES and "/leases" not in request.path:
                data = await answer.read()
                if answer.status < 300 and self._changed(data):
                    write = Write(request.method, request.path, answer.status)
                    self.writes.append(write)
                    await asyncio.get_running_loop().run_in_executor(None, self.after_write, write)
                await response.prepare(request)
                await response.write(data)
                return response
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                if not (self.mute and "watch" in request.query):
                    await response.write(chunk)
            return response

    def _changed(self, data: bytes) -> bool:
        """Whether this version of the object has not been seen in an answer before."""
        answer = json.loads(data)
        metadata: dict[str, Any] = answer.get("metadata", {})
        version = metadata.get("uid") or answer["details"]["uid"], metadata.get("resourceVersion", "")
        known = version in self._versions
        self._versions.add(version)
        return not known


def _decode(data: str) -> str:
    return base64.b64decode(data).decode()
