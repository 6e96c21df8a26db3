"""Single values that planner tests start from: a spec, a run, a pod, a picture."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from igpo_operator.api.kinds import IGPO_TRAINING, LENGTH_ALIGNED_SFT
from igpo_operator.api.status import RunStatus
from igpo_operator.plan.observed import Facts, Observed, Pod, Run, Running, Scrape, Terminated, Waiting
from igpo_operator.render.names import pod_name
from igpo_trainer.spec.contract import TerminationMessage, TrainerStatus

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
IMAGE = "registry.example/igpo-trainer:1"
FACTS = Facts(trainer_image=IMAGE, version="1.0.0", started_at=NOW - timedelta(hours=1))


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def spec(*, replicas: int = 2, **changes: Any) -> dict[str, Any]:
    """A spec as it is stored; changes are top-level fields."""
    base = {
        "model": {"scratch": {"hiddenSize": 32, "layers": 1, "heads": 2, "intermediateSize": 64, "maxPositions": 64}},
        "dataset": {"source": "builtin:word-problems", "maxPromptTokens": 40, "holdout": {"rows": 8}},
        "sampling": {"completionLength": 16, "steps": 4, "blockLength": 8},
        "steps": 30,
        "workers": {"replicas": replicas, "gpusPerWorker": 0},
        "storage": {"accessModes": ["ReadWriteMany"]},
        "runPolicy": {"backoffLimit": 3},
    }
    return {**base, **changes}


def sft_spec(**changes: Any) -> dict[str, Any]:
    base = spec(length={"target": 16}, training={"steps": 10, "batchSize": 4})
    del base["steps"]
    return {**base, **changes}


def rewriting_spec(**changes: Any) -> dict[str, Any]:
    """A LengthAlignedSFT whose traces a teacher rewrites."""
    teacher = {
        "baseUrl": "https://teacher.example/v1",
        "model": "concise-70b",
        "apiKeySecretRef": {"name": "teacher", "key": "token"},
    }
    return sft_spec(**{"rewrite": {"teacher": teacher}, **changes})


def run(raw: dict[str, Any] | None = None, status: RunStatus | None = None, **changes: Any) -> Run:
    given = Run(
        kind=IGPO_TRAINING,
        namespace="team",
        name="gsm8k",
        uid="0a1b2c3d-0000-0000-0000-000000000001",
        generation=1,
        resource_version="10",
        created_at=NOW,
        spec=spec() if raw is None else raw,
        status=status or RunStatus(),
    )
    return replace(given, **changes)


def source(status: RunStatus, raw: dict[str, Any] | None = None, **changes: Any) -> Run:
    return run(raw or sft_spec(), status, kind=LENGTH_ALIGNED_SFT, name="base", uid="source-uid", **changes)


def pod(rank: int = 0, attempt: int = 1, **changes: Any) -> Pod:
    """A pod that runs on its own node."""
    name = pod_name(IGPO_TRAINING, "gsm8k", attempt, rank)
    given = Pod(
        name=name,
        uid=f"uid-{name}",
        resource_version="5",
        attempt=attempt,
        rank=rank,
        phase="Running",
        created_at=NOW,
        node=f"node-{rank}",
        ip=f"10.0.0.{rank + 1}",
        scheduled_at=NOW,
        trainer=Running(NOW),
        image_id="registry.example/igpo-trainer@sha256:abc",
    )
    return replace(given, **changes)


def ended(code: int = 0, *, at: float = 0, reason: str = "Error", says: str = "", **message: Any) -> Terminated:
    """A container's end; says and message: the termination message, none without them."""
    said = TerminationMessage(code=code, reason=says, **message) if says or message else None
    return Terminated(code, "Completed" if code == 0 else reason, said, finished_at=after(at))


def waiting(reason: str, message: str = "") -> Waiting:
    return Waiting(reason, message)


def scrape(step: int = 1, *, attempt: int = 1, at: float = 0, moved: float | None = None, **said: Any) -> Scrape:
    status = TrainerStatus(**{"stage": "rollout", "step": step, "planned_steps": 30, "attempt": attempt} | said)
    return Scrape(attempt, status, after(at), after(at if moved is None else moved))


def picture(of: Run | None = None, pods: tuple[Pod, ...] = (), at: float = 0, **changes: Any) -> Observed:
    given = Observed(run=of or run(), pods=pods, facts=FACTS, now=after(at))
    return replace(given, **changes)
