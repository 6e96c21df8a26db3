"""HTTP for /metrics and /healthz, in a thread of its own: it answers also when the event loop does not."""

import logging
import socket
import threading
from collections.abc import Callable, Iterable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

logger = logging.getLogger(__name__)

_TEXT = "text/plain; charset=utf-8"


class _Handler(BaseHTTPRequestHandler):
    server: "_Server"
    timeout = 10  # seconds for a client to send its request
    protocol_version = "HTTP/1.1"
    server_version = "igpo-operator"
    sys_version = ""

    def do_GET(self) -> None:
        match self.path.partition("?")[0]:
            case "/metrics":
                encode, content_type = choose_encoder(self.headers.get("Accept", ""))
                self._answer(HTTPStatus.OK, content_type, encode(self.server.registry))
            case "/healthz":
                problems = list(self.server.problems())
                code = HTTPStatus.SERVICE_UNAVAILABLE if problems else HTTPStatus.OK
                self._answer(code, _TEXT, ("\n".join(problems or ["ok"]) + "\n").encode())
            case _:
                self._answer(HTTPStatus.NOT_FOUND, _TEXT, b"here are /metrics and /healthz\n")

    def _answer(self, code: HTTPStatus, content_type: str, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Probes are not news."""


class _Server(ThreadingMixIn, TCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(
        self, address: str, port: int, registry: CollectorRegistry, problems: Callable[[], Iterable[str]]
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.registry = registry
        self.problems = problems
        super().__init__((address, port), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Pass over a client that went away."""
        logger.debug("client %s went away", client_address, exc_info=True)


class ProbeServer:
    """Serves until closed; `problems` is empty while all is well."""

    def __init__(
        self, registry: CollectorRegistry, problems: Callable[[], Iterable[str]], *, address: str, port: int
    ) -> None:
        """Listen at once; OSError if the port is taken."""
        self._server = _Server(address, port, registry, problems)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="probes", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
