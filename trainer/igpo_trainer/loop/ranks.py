"""The processes of one run, as the loop sees them."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Self, TypeVar, cast

import torch
import torch.distributed as dist

from igpo_trainer.spec.contract import Cause
from igpo_trainer.spec.errors import RunError

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Ranks:
    """One process and its peers; a world of 1 never touches torch.distributed.

    Every collective (all methods but `share`) must be called by all ranks in the same order.
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    control: dist.ProcessGroup | None = field(default=None, repr=False)
    """Gloo group for objects, flags and CPU tensors, so that they never wait for the accelerator."""

    @classmethod
    def join(cls, *, cpu: bool = False, timeout_seconds: float = 1800.0) -> Self:
        """Join the group that torchrun describes in the environment; call it before making an Accelerator.

        An Accelerator made later adopts the group. cpu keeps everything on gloo even where CUDA is present.
        A collective that waits longer than timeout_seconds raises.
        """
        if "LOCAL_RANK" not in os.environ or int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return cls()
        local_rank = int(os.environ["LOCAL_RANK"])
        on_gpu = torch.cuda.is_available() and not cpu
        timeout = timedelta(seconds=timeout_seconds)
        if on_gpu:
            torch.cuda.set_device(local_rank)
        if not dist.is_initialized():
            dist.init_process_group("nccl" if on_gpu else "gloo", timeout=timeout)
        control = dist.group.WORLD
        if dist.get_backend() != "gloo":
            control = cast("dist.ProcessGroup", dist.new_group(backend="gloo", timeout=timeout))
        return cls(dist.get_rank(), dist.get_world_size(), local_rank, control)

    @property
    def is_main(self) -> bool:
        """Whether this is global rank 0, the one that writes files and serves metrics."""
        return self.rank == 0

    def gather_objects(self, value: T) -> list[T]:
        """Every rank's value, ordered by rank, on every rank. The values are pickled between our own ranks only."""
        if self.control is None:
            return [value]
        gathered: list[Any] = [None] * self.world
        dist.all_gather_object(gathered, value, group=self.control)
        return gathered

    def share(self, items: Sequence[T]) -> list[T]:
        """Take this rank's part of items that all ranks hold: every world-th one, so sizes differ by one at most."""
        return list(items[self.rank :: self.world])

    def pooled(self, items: Sequence[T], work: Callable[[list[T]], list[R]]) -> list[R]:
        """Do work over items that all ranks hold, each rank its share; every rank gets all results in order.

        work runs on every rank, also with an empty list, so collectives inside it stay matched. When it raises
        anywhere, every rank raises here: the one at fault its own error, the others a RunError that names it.
        """
        part = self.share(items)
        error: Exception | None = None
        results: list[R] = []
        try:
            results = work(part)
            if len(results) != len(part):
                raise RunError(f"pooled work returned {len(results)} results for {len(part)} items")
        except Exception as raised:
            error = raised
        told = self.gather_objects((len(items), results, _Fault.of(error)))
        if error is not None:
            raise error
        for rank, (_, _, fault) in enumerate(told):
            if fault is not None:
                raise fault.told_by(rank)
        if len({length for length, *_ in told}) > 1:
            raise RunError(f"ranks disagree on the pooled work: {[length for length, *_ in told]} items by rank")
        merged: list[R | None] = [None] * len(items)
        for rank, (_, theirs, _) in enumerate(told):
            merged[rank :: self.world] = theirs
        return cast("list[R]", merged)

    def everywhere(self, action: Callable[[], T]) -> T:
        """Do something on every rank; each gets its own result. When it raises on one, every rank raises."""
        error: Exception | None = None
        results: list[T] = []
        try:
            results.append(action())
        except Exception as raised:
            error = raised
        told = self.gather_objects(_Fault.of(error))
        if error is not None:
            raise error
        for rank, fault in enumerate(told):
            if fault is not None:
                raise fault.told_by(rank)
        return results[0]

    def on_main(self, action: Callable[[], T]) -> T | None:
        """Do something on the main rank only; its result there, None elsewhere. Its error is raised on every rank."""
        return self.everywhere(lambda: action() if self.is_main else None)

    def from_main(self, action: Callable[[], T]) -> T:
        """Do something on the main rank only; every rank gets its result. Its error is raised on every rank."""
        return cast("T", self.gather_objects(self.on_main(action))[0])

    def sum_tensor(self, tensor: torch.Tensor) -> torch.Tensor:
        """Add up tensor over ranks, as a new tensor on the same device."""
        total = tensor.detach().clone()
        if self.control is not None:
            dist.all_reduce(total, group=self.control if total.device.type == "cpu" else None)
        return total

    def any_true(self, flag: bool) -> bool:
        """Whether flag is true on some rank; one word over gloo, cheap enough for every micro-step."""
        if self.control is None:
            return flag
        word = torch.tensor([int(flag)], dtype=torch.int32)
        dist.all_reduce(word, op=dist.ReduceOp.MAX, group=self.control)
        return bool(word.item())

    def barrier(self) -> None:
        """Wait until every rank is here; the loop ends with one, so that no rank leaves while another saves."""
        if self.control is not None:
            dist.barrier(group=self.control)

    def leave(self) -> None:
        """Dissolve the process group; afterwards no collective may be called."""
        if self.control is not None and dist.is_initialized():
            dist.destroy_process_group()


@dataclass(frozen=True, slots=True)
class _Fault:
    """What one rank tells the others of its error: they raise the same class, so that the exit code agrees."""

    line: str
    kind: type[RunError]
    cause: Cause | None

    @classmethod
    def of(cls, error: Exception | None) -> Self | None:
        if error is None:
            return None
        text = " ".join(str(error).split())
        if isinstance(error, RunError):
            return cls(text, type(error), error.cause)
        return cls(f"{type(error).__name__}: {text}", RunError, None)

    def told_by(self, rank: int) -> RunError:
        error = self.kind(f"rank {rank} failed: {self.line}")
        error.cause = self.cause
        return error
