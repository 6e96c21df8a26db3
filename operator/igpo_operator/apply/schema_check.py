"""Whether the CRDs are there, and of this operator's version: looked at once, at the start."""

import logging
from datetime import timedelta
from typing import Final

from igpo_operator.api.crd import SchemaMatch, compare
from igpo_operator.api.kinds import GROUP, KINDS, Kind
from igpo_operator.apply.errors import ApiError, NotFoundError, RefusedError
from igpo_operator.apply.kube import Kube
from igpo_operator.apply.resources import CRDS, runs_of

logger = logging.getLogger(__name__)

RETRY: Final = timedelta(seconds=5)
_WORDS: Final = {
    SchemaMatch.OLDER: "is older than this operator: the API server drops fields it does not know; apply the new crds/",
    SchemaMatch.NEWER: "is newer than this operator: new fields do nothing; upgrade the operator",
    SchemaMatch.OTHER: "differs from this operator's: apply the crds/ that belong to it",
}


async def missing_kinds(kube: Kube, namespace: str | None) -> list[str]:
    """What keeps the operator from starting: one line for each kind that is not served, or may not be read."""
    problems = []
    for kind in KINDS:
        try:
            await kube.list(runs_of(kind), namespace, lambda _body: None, fields="metadata.name=none")
        except NotFoundError:
            problems.append(f"{kind.plural}.{GROUP} is not installed; kubectl apply -f crds/")
        except RefusedError as problem:
            problems.append(f"{kind.plural}.{GROUP} may not be listed ({problem.message}); apply the chart's RBAC")
        except ApiError as problem:
            problems.append(str(problem))
    return problems


async def compare_schemas(kube: Kube) -> dict[str, SchemaMatch]:
    """Compare the installed CRDs with ours and log which is older; without the right to read them, say so once."""
    found: dict[str, SchemaMatch] = {}
    for kind in KINDS:
        try:
            installed = await kube.get(CRDS, None, f"{kind.plural}.{GROUP}")
        except RefusedError:
            logger.info("CRDs may not be read: their version was not compared with this operator's")
            return found
        except ApiError as problem:
            logger.warning("the CRD of %s could not be read: %s", kind.kind, problem)
            continue
        found[kind.kind] = match = compare(kind, installed)
        if match is not SchemaMatch.SAME:
            logger.warning("%s", sentence(kind, match))
    return found


def sentence(kind: Kind, match: SchemaMatch) -> str:
    """Say what a difference means and what to do."""
    return f"CRD {kind.plural}.{GROUP} {_WORDS[match]}"
