"""Memory of a device: how much there is to take, and what running out of it looks like."""

import gc
import resource
from pathlib import Path
from typing import Final

import psutil
import torch

CGROUP: Final = Path("/sys/fs/cgroup")

_EXHAUSTED: Final = (
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "std::bad_alloc",
)
"""What errors say that have no class of their own."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed, on a GPU or on the CPU, so that the same work in smaller parts may succeed."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _EXHAUSTED)


def release_memory(device: torch.device) -> None:
    """Give back what nothing refers to any more; call it once the error and its traceback are forgotten."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def available_bytes(device: torch.device) -> int:
    """Bytes that this process may still take on `device`.

    On a CPU the least of what the machine has, of what the container's limit leaves (beyond it the kernel kills, and
    no allocation fails first) and of what the limit on the address space leaves.
    """
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + unused
    room = [int(psutil.virtual_memory().available)]
    if (left := container_bytes(CGROUP)) is not None:
        room.append(left)
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
        room.append(limit - int(psutil.Process().memory_info().vms))
    return max(0, min(room))


def container_bytes(root: Path) -> int | None:
    """Bytes below the memory limit of the cgroup (version 2 or 1) mounted at `root`; None where there is no limit.

    The page cache counts as free: the kernel takes it back.
    """
    for folder, limit_name, used_name, cache in (
        (root, "memory.max", "memory.current", ("file", "shmem")),
        (root / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", ("total_cache", "total_shmem")),
    ):
        try:
            limit, used = (folder / limit_name).read_text().strip(), int((folder / used_name).read_text())
            lines = (folder / "memory.stat").read_text().splitlines()
        except (OSError, ValueError):
            continue
        stat = {name: int(value) for name, _, value in (line.partition(" ") for line in lines)}
        reclaimable = stat.get(cache[0], 0) - stat.get(cache[1], 0)
        return None if limit == "max" else int(limit) - used + reclaimable
    return None
