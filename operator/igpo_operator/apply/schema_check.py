"""Whether both kinds are served, with every field that this operator knows. Needs no right but that of any account."""

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

from igpo_operator.api.crd import missing_fields
from igpo_operator.api.kinds import GROUP, KINDS, VERSION, Kind
from igpo_operator.apply.errors import ApiError, NotFoundError, RefusedError
from igpo_operator.apply.kube import Kube
from igpo_operator.apply.resources import runs_of

logger = logging.getLogger(__name__)

RETRY: Final = timedelta(seconds=5)
_SHOWN: Final = 3
"""Missing fields that a message names."""


async def missing_kinds(kube: Kube, namespace: str | None) -> list[str]:
    """What keeps the operator from starting: one line for each kind that is not served, or may not be read."""
    problems = []
    for kind in KINDS:
        try:
            await kube.list(runs_of(kind), namespace, lambda _body: None, fields="metadata.name=none")
        except NotFoundError:
            problems.append(f"{kind.plural}.{GROUP} is not installed; kubectl apply --server-side -f crds/")
        except RefusedError as problem:
            problems.append(f"{kind.plural}.{GROUP} may not be listed ({problem.message}); apply the chart's RBAC")
        except ApiError as problem:
            problems.append(str(problem))
    return problems


class SchemaCheck:
    """What the installed CRDs lack, by kind."""

    def __init__(self, kube: Kube, changed: Callable[[], None]) -> None:
        """`changed` is called after each look that found something else than the one before."""
        self._kube = kube
        self._changed = changed
        self._lacking: dict[str, str] = {}

    def lacking(self, kind: Kind) -> str | None:
        """Fields that the API server would drop from runs of a kind, in words; None: it keeps all."""
        return self._lacking.get(kind.kind)

    @property
    def complete(self) -> bool:
        """Whether no kind lacks anything, as far as is known."""
        return not self._lacking

    async def look(self) -> None:
        """Compare the served schemas with ours; what cannot be read is taken to be as it was."""
        try:
            served = await self._kube.schemas(GROUP, VERSION)
        except RefusedError as problem:
            logger.info("the installed CRDs were not compared with this operator's: %s", problem.message)
            return
        except ApiError as problem:
            logger.warning("the schemas of the installed CRDs could not be read: %s", problem)
            return
        found: dict[str, str] = {kind.kind: fields for kind in KINDS if (fields := _lacking(kind, served))}
        if found == self._lacking:
            return
        for name, fields in found.items():
            logger.error("the CRD of %s lacks %s; its runs are left as they are", name, fields)
        if not found:
            logger.info("the CRDs have every field now")
        self._lacking = found
        self._changed()


def _lacking(kind: Kind, served: dict[str, dict[str, Any]]) -> str | None:
    if kind.kind not in served:  # it was there when the operator started: the server is about to publish it again
        return None
    fields = missing_fields(kind, served[kind.kind])
    if not fields:
        return None
    more = f" and {len(fields) - _SHOWN} more fields" if len(fields) > _SHOWN else ""
    return ", ".join(fields[:_SHOWN]) + more
