"""HTTP for /metrics, /status and /healthz: three pages, read only, in a thread of its own."""

import errno
import logging
import socket
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from typing import ClassVar

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from igpo_trainer.spec.contract import TrainerStatus
from igpo_trainer.spec.errors import RunError

logger = logging.getLogger(__name__)
_PORTS_TRIED = 64


class _Handler(BaseHTTPRequestHandler):
    """Answers one request; `server` is the _Server below."""

    server: "_Server"
    timeout = 10  # seconds for a client to send its request
    protocol_version = "HTTP/1.1"
    server_version = "igpo"
    sys_version = ""

    def do_GET(self) -> None:
        """/metrics in the format asked for, /status as JSON, /healthz as `ok`; anything else is 404."""
        match self.path.partition("?")[0]:
            case "/metrics":
                encode, content_type = choose_encoder(self.headers.get("Accept", ""))
                self._answer(HTTPStatus.OK, content_type, encode(self.server.registry))
            case "/status":
                self._answer(HTTPStatus.OK, "application/json", self.server.status().model_dump_json().encode())
            case "/healthz":
                self._answer(HTTPStatus.OK, "text/plain; charset=utf-8", b"ok\n")
            case _:
                self._answer(
                    HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", b"here are /metrics, /status and /healthz\n"
                )

    def _answer(self, code: HTTPStatus, content_type: str, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Scrapes are not news."""


class _Server(ThreadingMixIn, TCPServer):
    daemon_threads = True
    allow_reuse_address = True
    address_families: ClassVar = {True: socket.AF_INET6, False: socket.AF_INET}

    def __init__(
        self, address: str, port: int, registry: CollectorRegistry, status: Callable[[], TrainerStatus]
    ) -> None:
        self.address_family = self.address_families[":" in address]
        self.registry = registry
        self.status = status
        super().__init__((address, port), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Pass over a client that went away: no error of the run."""
        logger.debug("metrics client %s went away", client_address, exc_info=True)


class MetricsServer:
    """Serves a registry and a status until closed."""

    def __init__(
        self,
        registry: CollectorRegistry,
        status: Callable[[], TrainerStatus],
        *,
        address: str,
        port: int,
        next_free: bool = False,
    ) -> None:
        """Listen on `address` (IPv4, IPv6 or empty for every IPv4 one) and `port` (0: any free one).

        A busy port is a RunError (in a pod: something else owns the contract's port), or with `next_free` the next
        free one is taken and logged (at a desk: two runs side by side).
        """
        self._server = _listen(registry, status, address, port, next_free=next_free)
        self.address = address
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="igpo-metrics", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop listening; running answers are finished."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _listen(
    registry: CollectorRegistry,
    status: Callable[[], TrainerStatus],
    address: str,
    port: int,
    *,
    next_free: bool,
) -> _Server:
    last = min(port + _PORTS_TRIED, 65535) if next_free and port else port
    for candidate in range(port, last + 1):
        try:
            server = _Server(address, candidate, registry, status)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                continue
            raise RunError(
                f"/metrics cannot listen on {address}:{candidate} ({error.strerror}); check the address"
            ) from error
        if candidate != port:
            logger.warning("port %d is taken; /metrics is on port %d", port, server.server_address[1])
        return server
    upto = f" to {last}" if last > port else ""
    raise RunError(f"/metrics cannot listen on {address}:{port}{upto}: taken; free the port or set another")
