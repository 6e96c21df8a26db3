"""/metrics and /healthz of the operator."""

from collections.abc import Callable, Iterable
from http import HTTPStatus

from prometheus_client import CollectorRegistry

from igpo_trainer.pages import Page, PageServer, metrics_page


def serve(registry: CollectorRegistry, problems: Callable[[], Iterable[str]], *, address: str, port: int) -> PageServer:
    """Serve until closed; `problems` is empty while all is well. OSError if the port is taken."""

    def health(_accepted: str) -> Page:
        found = list(problems())
        code = HTTPStatus.SERVICE_UNAVAILABLE if found else HTTPStatus.OK
        return Page(("\n".join(found or ["ok"]) + "\n").encode(), code=code)

    return PageServer({"/metrics": metrics_page(registry), "/healthz": health}, address=address, port=port)
