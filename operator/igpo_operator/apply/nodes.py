"""Whether a node is alive: asked only about nodes whose pods are overdue."""

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from igpo_operator.apply.clock import Clock
from igpo_operator.apply.errors import NotFoundError, RefusedError
from igpo_operator.apply.kube import Kube
from igpo_operator.apply.resources import NODES
from igpo_operator.apply.view import node_is_ready
from igpo_operator.plan.observed import Pod

logger = logging.getLogger(__name__)

_FRESH: Final = timedelta(seconds=10)


class NodeReader:
    """Reads conditions of nodes; what was read stays for 10 s."""

    def __init__(self, kube: Kube, clock: Clock, *, allowed: bool) -> None:
        """Not `allowed`: nothing is ever read."""
        self._kube = kube
        self._clock = clock
        self._allowed = allowed
        self._known: dict[str, tuple[bool, datetime]] = {}

    async def of_overdue(self, pods: Iterable[Pod]) -> dict[str, bool]:
        """Readiness of the nodes of pods that should be gone by now; a node that does not exist is not ready."""
        now = self._clock.now()
        names = {pod.node for pod in pods if pod.node and pod.gone_by is not None and pod.gone_by <= now}
        ready = {}
        for name in sorted(names):
            state = await self._read(name)
            if state is not None:
                ready[name] = state
        return ready

    async def _read(self, name: str) -> bool | None:
        if not self._allowed:
            return None
        known = self._known.get(name)
        if known is not None and self._clock.now() - known[1] < _FRESH:
            return known[0]
        try:
            ready = node_is_ready(await self._kube.get(NODES, None, name))
        except NotFoundError:
            ready = False
        except RefusedError as problem:
            logger.warning("nodes may not be read (%s): pods on dead nodes need forceDeleteAfterSeconds", problem)
            self._allowed = False
            return None
        if len(self._known) > 1000:
            self._known.clear()
        self._known[name] = ready, self._clock.now()
        return ready
