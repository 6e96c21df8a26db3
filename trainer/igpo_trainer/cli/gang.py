"""Which processes make up the run, read from the PET_* environment that the operator sets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from igpo_trainer.spec.contract import ATTEMPT_VARIABLE, RENDEZVOUS_PORT, RUN_ID_VARIABLE
from igpo_trainer.spec.errors import InvalidRunError

_SAFETY_SECONDS = 5
"""Of the grace period, kept for our own end after the ranks': torchrun's escalation comes before the kubelet's."""


@dataclass(frozen=True, slots=True)
class Gang:
    """nodes pods of processes ranks each, and this pod's place in it."""

    processes: int = 1
    nodes: int = 1
    node_rank: int = 0
    master_addr: str | None = None
    """Where node rank 0 listens; None on a single node: torchrun picks a free local port."""
    master_port: int = RENDEZVOUS_PORT
    rendezvous_id: str = "igpo"
    rendezvous_conf: str = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read PET_NNODES, PET_NODE_RANK, PET_NPROC_PER_NODE, PET_MASTER_ADDR, PET_MASTER_PORT and PET_RDZV_*.

        The rendezvous id carries run and attempt, so that a rank of an earlier attempt never joins this one.
        Raises InvalidRunError naming the variable.
        """
        backend = environment.get("PET_RDZV_BACKEND", "static")
        if backend != "static":
            raise InvalidRunError(
                f"PET_RDZV_BACKEND is {backend}, but ranks must follow pod indices: set it to static or remove it"
            )
        nodes = _number(environment, "PET_NNODES", default=1, least=1)
        node_rank = _number(environment, "PET_NODE_RANK", default=0, least=0)
        if node_rank >= nodes:
            raise InvalidRunError(f"PET_NODE_RANK is {node_rank}, but PET_NNODES is {nodes}: it must be below")
        address = environment.get("PET_MASTER_ADDR") or None
        if nodes > 1 and address is None:
            raise InvalidRunError(f"PET_MASTER_ADDR is missing, but PET_NNODES is {nodes}: name the pod of node rank 0")
        run, attempt = environment.get(RUN_ID_VARIABLE, "igpo"), environment.get(ATTEMPT_VARIABLE, "1")
        return cls(
            processes=_number(environment, "PET_NPROC_PER_NODE", default=1, least=1),
            nodes=nodes,
            node_rank=node_rank,
            master_addr=address if nodes > 1 else None,  # alone in its pod, it need not wait for its name in DNS
            master_port=_number(environment, "PET_MASTER_PORT", default=RENDEZVOUS_PORT, least=1),
            rendezvous_id=environment.get("PET_RDZV_ID") or f"{run}-{attempt}",
            rendezvous_conf=environment.get("PET_RDZV_CONF", ""),
        )

    def torchrun_arguments(self, worker: Sequence[str], grace_seconds: float) -> list[str]:
        """Arguments of torchrun that start worker once per local rank.

        torchrun sends SIGKILL to ranks that still run --shutdown-timeout seconds after SIGTERM (default 30).
        """
        arguments = [f"--nnodes={self.nodes}", f"--nproc-per-node={self.processes}", "--max-restarts=0"]
        arguments.append(f"--shutdown-timeout={max(1, int(grace_seconds) - _SAFETY_SECONDS)}")
        if self.master_addr is None:
            arguments += ["--standalone", "--local-addr=127.0.0.1"]
        else:
            arguments += [
                "--rdzv-backend=static",
                f"--rdzv-id={self.rendezvous_id}",
                f"--node-rank={self.node_rank}",
                f"--master-addr={self.master_addr}",
                f"--master-port={self.master_port}",
            ]
            if self.rendezvous_conf:
                arguments.append(f"--rdzv-conf={self.rendezvous_conf}")
        return [*arguments, "--no-python", *worker]


def _number(environment: Mapping[str, str], name: str, *, default: int, least: int) -> int:
    text = environment.get(name) or str(default)
    if not text.isdecimal() or int(text) < least:
        raise InvalidRunError(
            f"{name} is {text!r}, not a whole number of at least {least}: correct the pod's environment"
        )
    return int(text)
