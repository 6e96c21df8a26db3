"""For people and tests in other processes: GET /control/counts, POST /control/hold?after=N, POST /control/release."""

from typing import Any
from urllib.parse import parse_qs, urlsplit


def control(server: Any, method: str, path: str) -> dict[str, Any] | None:
    """Carry out a request to the teacher itself and return its counts; None: there is no such path."""
    parts = urlsplit(path)
    match method, parts.path:
        case "GET", "/control/counts":
            pass
        case "POST", "/control/hold":
            server.hold_after(int(parse_qs(parts.query).get("after", ["0"])[0]))
        case "POST", "/control/release":
            server.release()
        case _:
            return None
    with server.news:
        return {"asked": dict(server.asked), "answered": dict(server.answered), "inFlight": server.in_flight}
