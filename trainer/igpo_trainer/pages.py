"""A few HTTP pages, read only, in a thread of their own: they answer also when the process is busy."""

import logging
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

logger = logging.getLogger(__name__)

TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Page:
    """One answer."""

    body: bytes
    content_type: str = TEXT
    code: HTTPStatus = HTTPStatus.OK


Pages = Mapping[str, Callable[[str], Page]]
"""What is served, by path; each is made anew for a request, from the content types that it accepts."""


def metrics_page(registry: CollectorRegistry) -> Callable[[str], Page]:
    """The page of a registry, in the format that is asked for."""

    def page(accepted: str) -> Page:
        encode, content_type = choose_encoder(accepted)
        return Page(encode(registry), content_type)

    return page


class PageServer:
    """Serves pages until closed."""

    def __init__(self, pages: Pages, *, address: str, port: int) -> None:
        """Listen at once; OSError if that is impossible.

        An address is IPv4 or IPv6, empty for every IPv4 one; port 0 is any free one.
        """
        self._server = _Server(address, port, pages)
        self.address = address
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="igpo-pages", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop listening; running answers are finished."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: "_Server"
    timeout = 10  # seconds for a client to send its request
    protocol_version = "HTTP/1.1"
    server_version = "igpo"
    sys_version = ""

    def do_GET(self) -> None:
        """One of the pages; anything else is 404."""
        pages = self.server.pages
        make = pages.get(self.path.partition("?")[0])
        if make is None:
            page = Page(f"here are {', '.join(pages)}\n".encode(), code=HTTPStatus.NOT_FOUND)
        else:
            page = make(self.headers.get("Accept", ""))
        self.send_response(page.code)
        self.send_header("Content-Type", page.content_type)
        self.send_header("Content-Length", str(len(page.body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(page.body)

    def log_message(self, format: str, *args: object) -> None:
        """Scrapes and probes are not news."""


class _Server(ThreadingMixIn, TCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: str, port: int, pages: Pages) -> None:
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.pages = pages
        super().__init__((address, port), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Pass over a client that went away."""
        logger.debug("client %s went away", client_address, exc_info=True)
