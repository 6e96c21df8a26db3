"""The far end of an alert: a receiver that keeps what Alertmanager sends."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from igpo_cluster.waiting import until

Alert = dict[str, Any]


@dataclass(frozen=True)
class Webhook:
    """What has arrived at `url`, in order."""

    url: str
    alerts: list[Alert]

    def of(self, labels: Mapping[str, str]) -> list[Alert]:
        """The alerts that have these labels."""
        return [alert for alert in self.alerts if labels.items() <= alert["labels"].items()]

    def wait(self, status: str, labels: Mapping[str, str], since: datetime, within: float) -> Alert:
        """Wait until one with these labels that began after `since` has arrived as `firing` or as `resolved`."""

        def look() -> Alert | None:
            found = (alert for alert in self.of(labels) if datetime.fromisoformat(alert["startsAt"]) > since)
            return next((alert for alert in found if alert["status"] == status), None)

        return until(look, f"the arrival of {dict(labels)} as {status}", within, every=0.2)


@contextmanager
def receiving(address: str) -> Iterator[Webhook]:
    """Listen at a free port of `address`, which pods can reach, until the block ends."""
    alerts: list[Alert] = []
    server = HTTPServer((address, 0), _handler(alerts))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield Webhook(f"http://{address}:{server.server_port}/", alerts)
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


def _handler(alerts: list[Alert]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            alerts.extend(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["alerts"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet: pytest shows what matters."""

    return Handler
