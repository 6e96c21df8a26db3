"""The network being trained: its trainable weights, optimizer, schedule and reference."""

import copy
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Literal

import torch
from accelerate.accelerator import Accelerator
from torch import Tensor, nn

from igpo_trainer.diffusion.logprobs import ScoringPlan
from igpo_trainer.loop.shards import empty, fill, local, shard, whole, without_weights
from igpo_trainer.loop.tensor_parts import Part, StoredTensors
from igpo_trainer.models.denoiser import Denoiser
from igpo_trainer.models.head import TokenScores
from igpo_trainer.models.lora import reference_policy
from igpo_trainer.spec.errors import InvalidRunError
from igpo_trainer.spec.run import OptimizerSpec

WEIGHTS_FILE = "weights.safetensors"
OPTIMIZER_FILE = "optimizer.safetensors"


def learning_rate(spec: OptimizerSpec, update: int, planned: int) -> float:
    """Rate of the update with 0-based index `update` out of `planned`: linear warm-up, then the chosen decay."""
    if update < spec.warmup_updates:
        return spec.learning_rate * (update + 1) / spec.warmup_updates
    progress = (update - spec.warmup_updates) / max(1, planned - spec.warmup_updates)
    match spec.schedule:
        case "Linear":
            factor = max(0.0, 1.0 - progress)
        case "Cosine":
            factor = 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))
        case "Constant":
            factor = 1.0
    return spec.learning_rate * factor


class Policy:
    """π_θ with its optimizer, and π_ref when a KL term needs it.

    `denoiser` samples and scores without gradient; `module` is what gradients flow through. The reference is the policy
    at cycle 0: the base under an adapter, or a frozen copy.

    Each process holds all weights: `denoiser` is the network itself, `module` its data-parallel wrapper. Or, `sharded`,
    its rows of every weight: then `module` gathers one block after the other, and `denoiser` is another network, which
    has weights from `gather` until the next update only. Its forward is no collective, so that processes may sample
    differently long.

    Raises:
        ValueError: a network with adapters is to be sharded.

    """

    def __init__(
        self,
        denoiser: Denoiser,
        spec: OptimizerSpec,
        *,
        planned_updates: int,
        accelerator: Accelerator,
        keep_reference: bool = False,
        sharded: bool = False,
    ) -> None:
        self.accelerator = accelerator
        self.sharded = sharded
        self.trained = denoiser
        """The network that learns: `denoiser` itself, unless sharded. Activations are recomputed in this one."""
        self.updates = 0
        self._spec = spec
        self._planned = planned_updates
        has_adapter = any("lora_" in name for name, _ in denoiser.named_parameters())
        self._frozen: Denoiser | None = None
        self._start: Mapping[str, Tensor] = {}
        self._gathered: Literal["Nothing", "Policy", "Reference"] = "Nothing"
        self.module: nn.Module
        if sharded:
            if has_adapter:
                raise ValueError("adapters are trained whole on every process; shard a network without them")
            self._part = Part(accelerator.process_index, accelerator.num_processes)
            self.denoiser = without_weights(denoiser).to(accelerator.device)
            shard(denoiser, accelerator.device, accelerator.num_processes)
            self.module = denoiser
            if keep_reference:
                self._start = {name: weight.detach().clone() for name, weight in denoiser.named_parameters()}
        else:
            self._part = Part()
            self.denoiser = denoiser.to(accelerator.device)
            if keep_reference and not has_adapter:
                self._frozen = copy.deepcopy(self.denoiser).requires_grad_(False).eval()
            self.module = accelerator.prepare_model(self.denoiser)
        self.trainable: Mapping[str, nn.Parameter] = {
            name: parameter for name, parameter in denoiser.named_parameters() if parameter.requires_grad
        }
        self.optimizer = torch.optim.AdamW(
            self.trainable.values(), lr=spec.learning_rate, betas=spec.betas, weight_decay=spec.weight_decay
        )

    @property
    def rate(self) -> float:
        """Learning rate of the next update."""
        return learning_rate(self._spec, self.updates, self._planned)

    def gather(self) -> None:
        """Let `denoiser` hold the policy as it is now. A collective; nothing to do twice, nor where it always does."""
        self._gather("Policy", self.trainable)

    def gather_reference(self) -> None:
        """Let the reference be scored until the next `gather`. A collective as that is."""
        self._gather("Reference", self._start)

    def _gather(self, which: Literal["Policy", "Reference"], shards: Mapping[str, Tensor]) -> None:
        if self.sharded and self._gathered != which:
            self._release()
            fill(self.denoiser, shards)
            self._gathered = which

    def _release(self) -> None:
        """Free the memory of the gathered weights, which an update makes old."""
        if self.sharded and self._gathered != "Nothing":
            empty(self.denoiser)
            self._gathered = "Nothing"

    def score(self, plan: ScoringPlan, temperature: float) -> TokenScores:
        """Score with gradients, all processes together."""
        scores: TokenScores = self.module(
            plan.ids_BS, plan.attention_BS, plan.rows_M, plan.columns_M, plan.tokens_MK, temperature
        )
        return scores

    @torch.no_grad()
    def score_frozen(self, plan: ScoringPlan, temperature: float, *, reference: bool = False) -> TokenScores:
        """Score without gradients: the policy, or the reference π_ref; gather it before."""
        with self._reference() if reference else nullcontext(self.denoiser) as denoiser:
            scores: TokenScores = denoiser(
                plan.ids_BS, plan.attention_BS, plan.rows_M, plan.columns_M, plan.tokens_MK, temperature
            )
            return scores

    @contextmanager
    def micro_batch(self, *, last: bool) -> Iterator[None]:
        """Forward and backward of one micro-batch; all but the last keep their gradients local, unless sharded.

        Train mode is on only here: activation recomputation and LoRA dropout (SFT) need it, sampling and scoring must
        not see it.
        """
        self._release()
        with nullcontext() if last or self.sharded else self.accelerator.no_sync(self.module):
            self.module.train()
            try:
                yield
            finally:
                self.module.eval()

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of `loss`, already divided by the normaliser of the whole update.

        Data parallelism averages gradients over processes; the factor undoes that, so partial sums add up.
        """
        self.accelerator.backward(loss * self.accelerator.num_processes)  # type: ignore[no-untyped-call]  # accelerate

    def gradient_norm(self) -> float:
        """Clip the gradients to maxGradNorm and return their global L2 norm before clipping."""
        return float(whole(torch.nn.utils.clip_grad_norm_(self.trainable.values(), self._spec.max_grad_norm)))

    def step(self) -> float:
        """Apply one optimizer update; returns the learning rate that was used."""
        rate = self.rate
        self._release()
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.updates += 1
        return rate

    def discard_gradients(self) -> None:
        """Forget accumulated gradients."""
        self.optimizer.zero_grad(set_to_none=True)

    def save(self, folder: Path) -> None:
        """Write this process's part of trained weights and Adam state as safetensors.

        Sharded weights are in as many parts as there are processes; else the main process writes all of them.
        """
        if not (self.sharded or self.accelerator.is_main_process):
            return
        weights = {name: local(parameter) for name, parameter in self.trainable.items()}
        self._part.write(folder / WEIGHTS_FILE, weights, {"updates": str(self.updates)})
        moments = {
            f"{name}/{key}": local(value)
            for name, parameter in self.trainable.items()
            for key, value in self.optimizer.state.get(parameter, {}).items()
        }
        self._part.write(folder / OPTIMIZER_FILE, moments)

    @torch.no_grad()
    def load(self, folder: Path) -> None:
        """Restore what `save` wrote, bit for bit, on any number of processes.

        Raises InvalidRunError when names or shapes differ.
        """
        self.load_weights(folder)
        self.optimizer.state.clear()
        with StoredTensors(folder / OPTIMIZER_FILE) as stored:
            for key in stored.names:
                name, _, moment = key.rpartition("/")
                value = stored.read(key, self._part)
                if moment != "step":
                    like = torch.zeros_like(self.trainable[name])
                    local(like).copy_(value)
                    value = like
                self.optimizer.state[self.trainable[name]][moment] = value

    @torch.no_grad()
    def load_weights(self, folder: Path) -> None:
        """Restore the trained weights alone, which is all that measuring needs; raises as `load` does."""
        with StoredTensors(folder / WEIGHTS_FILE) as stored:
            self._refuse_others(stored, folder / WEIGHTS_FILE)
            self._release()
            for name, parameter in self.trainable.items():
                local(parameter).copy_(stored.read(name, self._part))
            self.updates = int(stored.metadata["updates"])

    def _refuse_others(self, stored: StoredTensors, path: Path) -> None:
        """Raise InvalidRunError when the file holds other weights than are trained."""
        if different := sorted(set(stored.names).symmetric_difference(self.trainable)):
            raise InvalidRunError(
                f"{path}: holds other weights than this run trains ({len(different)} names differ, first "
                f"{different[0]}); resume with the manifest that wrote it, or use another folder"
            )
        for name, parameter in self.trainable.items():
            if (shape := stored.shape(name)) != tuple(parameter.shape):
                raise InvalidRunError(
                    f"{path}: {name} has shape {list(shape)}, this run trains {list(parameter.shape)}; resume with "
                    "the manifest that wrote it, or use another folder"
                )

    @contextmanager
    def _reference(self) -> Iterator[Denoiser]:
        if self.sharded:
            assert self._gathered == "Reference", "gather_reference comes before"
            yield self.denoiser
        elif self._frozen is not None:
            yield self._frozen
        else:
            with reference_policy(self.denoiser):
                yield self.denoiser
