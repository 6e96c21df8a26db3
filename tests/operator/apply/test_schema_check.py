import asyncio
import logging
from copy import deepcopy
from typing import Any

import pytest

from igpo_operator.api.crd import object_schema
from igpo_operator.api.kinds import IGPO_TRAINING, KINDS, LENGTH_ALIGNED_SFT
from igpo_operator.api.status import AttemptStatus
from igpo_operator.apply.errors import NotFoundError, RefusedError
from igpo_operator.apply.schema_check import SchemaCheck, missing_kinds


class Kube:
    def __init__(self, problem: Exception | None = None) -> None:
        self.problem = problem
        self.served = {kind.kind: deepcopy(object_schema(kind)) for kind in KINDS}

    async def list(self, *_: Any, **__: Any) -> None:
        if self.problem is not None:
            raise self.problem

    async def schemas(self, group: str, version: str) -> dict[str, Any]:
        assert (group, version) == ("igpo.dev", "v1alpha1")
        if self.problem is not None:
            raise self.problem
        return self.served


class Looks:
    """A check, and how often it said that something has changed."""

    def __init__(self, kube: Kube) -> None:
        self.changes = 0
        self.check = SchemaCheck(kube, self._count)  # type: ignore[arg-type]

    def _count(self) -> None:
        self.changes += 1

    def look(self) -> str | None:
        asyncio.run(self.check.look())
        return self.check.lacking(IGPO_TRAINING)


def test_kinds_that_are_served_keep_nobody_waiting() -> None:
    assert asyncio.run(missing_kinds(Kube(), None)) == []


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (NotFoundError("list", 404, "no"), "is not installed; kubectl apply --server-side -f crds/"),
        (RefusedError("list", 403, "no rights"), "may not be listed (no rights); apply the chart's RBAC"),
    ],
)
def test_what_is_missing_is_named_with_the_remedy(answer: Exception, words: str) -> None:
    problems = asyncio.run(missing_kinds(Kube(answer), "team"))
    assert len(problems) == len(KINDS)
    assert all(problem.endswith(words) for problem in problems)


def test_a_crd_with_every_field_lacks_nothing() -> None:
    looks = Looks(Kube())
    assert looks.look() is None
    assert looks.check.complete
    assert looks.changes == 0


def test_fields_that_an_older_crd_lacks_are_named_until_it_is_replaced(caplog: pytest.LogCaptureFixture) -> None:
    kube = Kube()
    looks, attempt = Looks(kube), kube.served["IGPOTraining"]["properties"]["status"]["properties"]["attempt"]
    whole = dict(attempt["properties"])
    del attempt["properties"]["notBefore"]
    assert looks.look() == looks.look() == "status.attempt.notBefore"
    assert looks.check.lacking(LENGTH_ALIGNED_SFT) is None
    assert not looks.check.complete
    assert looks.changes == len(caplog.records) == 1
    attempt["properties"] = {}
    first = ", ".join(f"status.attempt.{name}" for name in list(AttemptStatus.model_json_schema()["properties"])[:3])
    assert looks.look() == f"{first} and {len(whole) - 3} more fields"
    attempt["properties"] = whole
    assert looks.look() is None
    assert looks.changes == 3


def test_a_kind_that_is_not_published_just_now_lacks_nothing() -> None:
    kube = Kube()
    del kube.served["IGPOTraining"]
    assert Looks(kube).look() is None


@pytest.mark.parametrize(
    ("problem", "level"),
    [(RefusedError("get", 403, "no rights"), logging.INFO), (NotFoundError("get", 404, "no"), logging.WARNING)],
)
def test_schemas_that_cannot_be_read_change_nothing_that_was_known(
    problem: Exception, level: int, caplog: pytest.LogCaptureFixture
) -> None:
    kube = Kube()
    looks = Looks(kube)
    del kube.served["IGPOTraining"]["properties"]["spec"]["properties"]["storage"]
    assert looks.look() == "spec.storage"
    kube.problem = problem
    caplog.clear()
    with caplog.at_level(logging.INFO):
        assert looks.look() == "spec.storage"
    assert [record.levelno for record in caplog.records] == [level]
