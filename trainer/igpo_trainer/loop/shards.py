"""A network whose weights are spread over processes (FSDP2), and the whole one that samples with them."""

import copy
from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from igpo_trainer.models.denoiser import Denoiser


def shard(denoiser: Denoiser, device: torch.device, world: int) -> None:
    """Leave each process its rows of every weight of `denoiser`, on `device`. A collective.

    Its forward and backward passes are collectives from then on, block by block: every process makes equally many.
    """
    mesh = init_device_mesh(device.type, (world,))
    decoder = denoiser.causal_lm.get_decoder()  # type: ignore[no-untyped-call]  # transformers leaves it untyped
    for block in cast("nn.ModuleList", decoder.layers):
        fully_shard(block, mesh=mesh)
    # Embedding, last norm and head. They stay whole until the backward pass: the head's weight is read, not called.
    fully_shard(denoiser, mesh=mesh, reshard_after_forward=False)


def without_weights(denoiser: Denoiser) -> Denoiser:
    """The same network with empty weights; nothing large is copied."""
    weights: dict[int, object] = {
        id(weight): nn.Parameter(weight.new_empty(0), requires_grad=False) for weight in denoiser.parameters()
    }
    return copy.deepcopy(denoiser, weights).eval()


@torch.no_grad()
def fill(denoiser: Denoiser, shards: Mapping[str, Tensor]) -> None:
    """Give a network without weights those whose rows the processes hold, one after the other. A collective."""
    for name, weight in denoiser.named_parameters():
        weight.data = cast("DTensor", shards[name]).full_tensor()


def empty(denoiser: Denoiser) -> None:
    """Free the weights that `fill` gave."""
    for weight in denoiser.parameters():
        weight.data = weight.data.new_empty(0)


def whole(tensor: Tensor) -> Tensor:
    """A tensor that processes hold together, on every one of them; others are returned as they are. A collective."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def local(tensor: Tensor) -> Tensor:
    """This process's rows of a tensor, sharing its memory; all of them where it is not spread."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
