"""/metrics, /status and /healthz of a trainer."""

import errno
import logging
from collections.abc import Callable

from prometheus_client import CollectorRegistry

from igpo_trainer.pages import Page, Pages, PageServer, metrics_page
from igpo_trainer.spec.contract import TrainerStatus
from igpo_trainer.spec.errors import RunError

logger = logging.getLogger(__name__)
_PORTS_TRIED = 64


def serve(
    registry: CollectorRegistry,
    status: Callable[[], TrainerStatus],
    *,
    address: str,
    port: int,
    next_free: bool = False,
) -> PageServer:
    """Serve a registry and a status on `address` (empty: every IPv4 one) and `port` (0: any free one).

    A busy port is a RunError (in a pod: something else owns the contract's port), or with `next_free` the next free one
    is taken and logged (at a desk: two runs side by side).
    """
    pages = {
        "/metrics": metrics_page(registry),
        "/status": lambda _accepted: Page(status().model_dump_json().encode(), "application/json"),
        "/healthz": lambda _accepted: Page(b"ok\n"),
    }
    last = min(port + _PORTS_TRIED, 65535) if next_free and port else port
    for candidate in range(port, last + 1):
        server = _listen(pages, address, candidate)
        if server is not None:
            if candidate != port:
                logger.warning("port %d is taken; /metrics is on port %d", port, server.port)
            return server
    upto = f" to {last}" if last > port else ""
    raise RunError(f"/metrics cannot listen on {address}:{port}{upto}: taken; free the port or set another")


def _listen(pages: Pages, address: str, port: int) -> PageServer | None:
    """None if the port is taken."""
    try:
        return PageServer(pages, address=address, port=port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return None
        raise RunError(f"/metrics cannot listen on {address}:{port} ({error.strerror}); check the address") from error
