"""Everything that can be set about the operator: environment variables IGPO_OPERATOR_*, read once at the start."""

import os
import socket
from collections.abc import Mapping
from datetime import datetime
from importlib import metadata
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from igpo_operator.plan.observed import Facts
from igpo_operator.render.network_policy import DEFAULT_SCRAPERS, Peer

PREFIX: Final = "IGPO_OPERATOR_"
_PEERS: Final[TypeAdapter[tuple[Peer, ...]]] = TypeAdapter(tuple[Peer, ...])
_SERVICE_HOST: Final = "KUBERNETES_SERVICE_HOST"


class InvalidConfigError(ValueError):
    """A variable has a value that it cannot have; one line a variable."""


class OperatorConfig(BaseModel):
    """One field, one variable: `trainer_image` is IGPO_OPERATOR_TRAINER_IMAGE."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trainer_image: str = Field(default="", description="Image of runs whose spec.image is empty; fixed at attempt 1.")
    namespaces: tuple[str, ...] = Field(
        default=(),
        description="Namespaces to work in, separated by commas. Empty: all, which needs cluster-wide rights.",
    )
    own_namespace: str = Field(
        default="igpo-system", description="Namespace of the operator itself; holds the Lease when it works in all."
    )
    identity: str = Field(
        default="",
        description="Name in Leases and Events. Empty: the pod's; outside a cluster the host's and the process id.",
    )
    workers: int = Field(default=4, ge=1, le=64, description="Runs that are reconciled at the same time.")
    scrape_seconds: float = Field(
        default=15.0, ge=0.1, le=300, description="Time between two looks at a trainer's /status, in seconds."
    )
    scrape_timeout_seconds: float = Field(
        default=5.0, ge=0.1, le=60, description="Longest wait for one answer of a trainer, in seconds."
    )
    scrape_concurrency: int = Field(default=16, ge=1, le=256, description="Trainers that are asked at the same time.")
    linger_seconds: float = Field(
        default=60.0, ge=0, le=3600, description="How long a trainer keeps its last metrics up, in seconds."
    )
    progress_interval_seconds: float = Field(
        default=30.0,
        ge=0.1,
        le=3600,
        description="Least time between status writes that only move progress or metrics, in seconds.",
    )
    restart_base_seconds: float = Field(
        default=10.0, ge=0, le=3600, description="First back-off after a charged failure, in seconds; doubles."
    )
    restart_max_seconds: float = Field(
        default=300.0, ge=0, le=86400, description="Longest back-off after a charged failure, in seconds."
    )
    wait_base_seconds: float = Field(
        default=60.0,
        ge=0,
        le=3600,
        description="First back-off after an incomplete or refused gang, in seconds; doubles.",
    )
    wait_max_seconds: float = Field(
        default=900.0, ge=0, le=86400, description="Longest back-off after an incomplete or refused gang, in seconds."
    )
    disruption_limit: int = Field(
        default=100, ge=1, le=100_000, description="Free restarts without checkpoint progress before a run fails."
    )
    may_read_nodes: bool = Field(
        default=True, description="Whether nodes may be read, to tell a dead node from a slow pod."
    )
    scrapers: str = Field(
        default="",
        description="Who may read the trainers' metrics: a JSON list of NetworkPolicy peers, the operator among them. "
        "Empty: pods labelled app.kubernetes.io/name igpo-operator or prometheus, in any namespace.",
    )
    resync_seconds: float = Field(
        default=600.0, ge=1, le=86400, description="Time between two full listings, in seconds."
    )
    stale_seconds: float = Field(
        default=120.0,
        ge=1,
        le=3600,
        description="Liveness fails when a watch has missed a known change for this long, in seconds.",
    )
    lease_seconds: float = Field(
        default=15.0,
        ge=0.5,
        le=300,
        description="How long a Lease is ours without being renewed, in seconds; renewed three times as often.",
    )
    port: int = Field(
        default=8080, ge=0, le=65535, description="Port of /metrics and /healthz; 0: any free one (it is logged)."
    )
    address: str = Field(default="", description="Address to listen on; empty: every one.")
    grace_seconds: float = Field(
        default=20.0,
        ge=0,
        le=600,
        description="How long a stop may wait for reconciles in flight, in seconds; below the pod's own grace period.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="Least level that is logged."
    )
    log_format: Literal["json", "text"] = Field(default="json", description="json for machines, text for people.")

    @field_validator("namespaces", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("scrapers")
    @classmethod
    def _are_peers(cls, value: str) -> str:
        _peers(value)
        return value

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "OperatorConfig":
        """Read IGPO_OPERATOR_*; InvalidConfigError names every variable that is unknown or wrong."""
        given = {
            name.removeprefix(PREFIX).lower(): value for name, value in environment.items() if name.startswith(PREFIX)
        }
        given.setdefault("identity", _default_identity(environment))
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise InvalidConfigError("\n".join(_problems(error))) from error

    @property
    def lease_namespaces(self) -> tuple[str, ...]:
        """Namespaces whose Lease this operator must hold to work at all."""
        return self.namespaces or (self.own_namespace,)

    def facts(self, started_at: datetime) -> Facts:
        """What plans are told."""
        same = ("trainer_image", "linger_seconds", "progress_interval_seconds", "disruption_limit", "may_read_nodes")
        backoffs = ("restart_base_seconds", "restart_max_seconds", "wait_base_seconds", "wait_max_seconds")
        values = {name: getattr(self, name) for name in (*same, *backoffs)}
        return Facts(version=operator_version(), started_at=started_at, scrapers=_peers(self.scrapers), **values)


def _peers(text: str) -> tuple[Peer, ...]:
    return _PEERS.validate_json(text) if text else DEFAULT_SCRAPERS


def operator_version() -> str:
    """Version of the installed package; empty when run from a checkout."""
    try:
        return metadata.version("igpo")
    except metadata.PackageNotFoundError:
        return ""


def describe_variables() -> str:
    """Every variable with its meaning and default, for --help."""
    lines = []
    for name, field in OperatorConfig.model_fields.items():
        default = ",".join(field.default) if isinstance(field.default, tuple) else field.default
        shown = f" (default: {default})" if str(default) else ""
        lines.append(f"  {PREFIX}{name.upper()}\n      {field.description}{shown}")
    return "\n".join(lines)


def _default_identity(environment: Mapping[str, str]) -> str:
    host = socket.gethostname()
    return host if environment.get(_SERVICE_HOST) else f"{host}-{os.getpid()}"


def _problems(error: ValidationError) -> list[str]:
    lines = []
    for problem in error.errors():
        name = f"{PREFIX}{str(problem['loc'][0]).upper()}"
        if problem["type"] == "extra_forbidden":
            lines.append(f"{name} is no setting of the operator; see python -m igpo_operator --help")
        else:
            lines.append(f"{name}={problem['input']}: {problem['msg']}")
    return lines
