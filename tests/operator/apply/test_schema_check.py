import asyncio
import logging
from typing import Any

import pytest

from igpo_operator.api.crd import SchemaMatch, definition
from igpo_operator.api.kinds import IGPO_TRAINING, KINDS
from igpo_operator.apply.errors import NotFoundError, RefusedError
from igpo_operator.apply.schema_check import compare_schemas, missing_kinds


class Kube:
    def __init__(self, answer: Any) -> None:
        self.answer = answer

    async def list(self, resource: Any, *_: Any, **__: Any) -> None:
        if isinstance(self.answer, Exception):
            raise self.answer

    async def get(self, _: Any, __: None, name: str) -> dict[str, Any]:
        if isinstance(self.answer, Exception):
            raise self.answer
        crd = definition(next(kind for kind in KINDS if name.startswith(kind.plural)))
        return crd | {"metadata": crd["metadata"] | {"annotations": crd["metadata"]["annotations"] | self.answer}}


def test_kinds_that_are_served_keep_nobody_waiting() -> None:
    assert asyncio.run(missing_kinds(Kube({}), None)) == []


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (NotFoundError("list", 404, "no"), "is not installed; kubectl apply -f crds/"),
        (RefusedError("list", 403, "no rights"), "may not be listed (no rights); apply the chart's RBAC"),
    ],
)
def test_what_is_missing_is_named_with_the_remedy(answer: Exception, words: str) -> None:
    problems = asyncio.run(missing_kinds(Kube(answer), "team"))
    assert len(problems) == len(KINDS)
    assert all(problem.endswith(words) for problem in problems)


@pytest.mark.parametrize(
    ("annotations", "match", "words"),
    [
        ({}, SchemaMatch.SAME, ""),
        ({"igpo.dev/schema-hash": "x", "igpo.dev/version": "0.0.1"}, SchemaMatch.OLDER, "is older than this operator"),
        ({"igpo.dev/schema-hash": "x", "igpo.dev/version": "99.0.0"}, SchemaMatch.NEWER, "is newer than this operator"),
        ({"igpo.dev/schema-hash": "x"}, SchemaMatch.OTHER, "differs from this operator's"),
    ],
)
def test_the_log_says_which_is_older(
    annotations: dict[str, str], match: SchemaMatch, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        found = asyncio.run(compare_schemas(Kube(annotations)))
    assert found[IGPO_TRAINING.kind] is match
    assert words in caplog.text
    assert bool(caplog.records) is bool(words)


def test_without_the_right_to_read_crds_the_operator_works_on() -> None:
    assert asyncio.run(compare_schemas(Kube(RefusedError("get", 403, "no")))) == {}
