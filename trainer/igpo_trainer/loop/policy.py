"""The network being trained: its trainable weights, optimizer, schedule and reference."""

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from accelerate.accelerator import Accelerator
from safetensors import safe_open
from torch import Tensor, nn

from igpo_trainer.diffusion.logprobs import ScoringPlan
from igpo_trainer.models.denoiser import Denoiser
from igpo_trainer.models.head import TokenScores
from igpo_trainer.models.lora import reference_policy
from igpo_trainer.models.tensor_file import write_tensors
from igpo_trainer.spec.errors import InvalidRunError
from igpo_trainer.spec.run import OptimizerSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

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

    `denoiser` is the bare network (sampling, scoring without gradient); `module` is what gradients flow through,
    wrapped for data parallelism. The reference is the policy at cycle 0: the base under an adapter, or a frozen copy.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        spec: OptimizerSpec,
        *,
        planned_updates: int,
        accelerator: Accelerator,
        keep_reference: bool = False,
    ) -> None:
        self.accelerator = accelerator
        self.denoiser = denoiser.to(accelerator.device)
        self.updates = 0
        self._spec = spec
        self._planned = planned_updates
        has_adapter = any("lora_" in name for name, _ in denoiser.named_parameters())
        self._frozen: Denoiser | None = None
        if keep_reference and not has_adapter:
            self._frozen = copy.deepcopy(self.denoiser).requires_grad_(False).eval()
        self.module: nn.Module = accelerator.prepare_model(self.denoiser)
        self.trainable: Mapping[str, nn.Parameter] = {
            name: parameter for name, parameter in self.denoiser.named_parameters() if parameter.requires_grad
        }
        self.optimizer = torch.optim.AdamW(
            self.trainable.values(), lr=spec.learning_rate, betas=spec.betas, weight_decay=spec.weight_decay
        )

    @property
    def rate(self) -> float:
        """Learning rate of the next update."""
        return learning_rate(self._spec, self.updates, self._planned)

    def score(self, plan: ScoringPlan, temperature: float) -> TokenScores:
        """Score with gradients, through the data-parallel wrapper."""
        scores: TokenScores = self.module(
            plan.ids_BS, plan.attention_BS, plan.rows_M, plan.columns_M, plan.tokens_MK, temperature
        )
        return scores

    @torch.no_grad()
    def score_frozen(self, plan: ScoringPlan, temperature: float, *, reference: bool = False) -> TokenScores:
        """Score without gradients: the current policy, or the reference π_ref."""
        with self._reference() if reference else nullcontext(self.denoiser) as denoiser:
            scores: TokenScores = denoiser(
                plan.ids_BS, plan.attention_BS, plan.rows_M, plan.columns_M, plan.tokens_MK, temperature
            )
            return scores

    @contextmanager
    def micro_batch(self, *, last: bool) -> Iterator[None]:
        """Forward and backward of one micro-batch; all but the last keep their gradients local.

        Train mode is on only here: activation recomputation and LoRA dropout (SFT) need it, sampling and scoring must
        not see it.
        """
        with nullcontext() if last else self.accelerator.no_sync(self.module):
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
        return float(torch.nn.utils.clip_grad_norm_(self.trainable.values(), self._spec.max_grad_norm))

    def step(self) -> float:
        """Apply one optimizer update; returns the learning rate that was used."""
        rate = self.rate
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
        """Write trained weights and Adam state as safetensors."""
        weights = {name: p.detach().cpu().contiguous() for name, p in self.trainable.items()}
        write_tensors(folder / WEIGHTS_FILE, weights, {"updates": str(self.updates)})
        moments = {
            f"{name}/{key}": value.detach().cpu().contiguous()
            for name, parameter in self.trainable.items()
            for key, value in self.optimizer.state.get(parameter, {}).items()
        }
        write_tensors(folder / OPTIMIZER_FILE, moments)

    def load(self, folder: Path) -> None:
        """Restore what `save` wrote, bit for bit. Raises InvalidRunError when names or shapes differ."""
        self.load_weights(folder)
        self.optimizer.state.clear()
        with safe_open(folder / OPTIMIZER_FILE, "pt") as file:
            for key in file.keys():  # noqa: SIM118
                name, _, moment = key.rpartition("/")
                value = file.get_tensor(key)
                parameter = self.trainable[name]
                self.optimizer.state[parameter][moment] = value if moment == "step" else value.to(parameter.device)

    def load_weights(self, folder: Path) -> None:
        """Restore the trained weights alone, which is all that measuring needs; raises as `load` does."""
        with safe_open(folder / WEIGHTS_FILE, "pt") as file:
            stored = set(file.keys())
            if stored != set(self.trainable):
                different = sorted(stored.symmetric_difference(self.trainable))
                raise InvalidRunError(
                    f"{folder / WEIGHTS_FILE}: holds other weights than this run trains ({len(different)} names "
                    f"differ, first {different[0]}); resume with the manifest that wrote it, or use another folder"
                )
            for name, parameter in self.trainable.items():
                if (shape := tuple(file.get_slice(name).get_shape())) != tuple(parameter.shape):
                    raise InvalidRunError(
                        f"{folder / WEIGHTS_FILE}: {name} has shape {list(shape)}, this run trains "
                        f"{list(parameter.shape)}; resume with the manifest that wrote it, or use another folder"
                    )
            with torch.no_grad():
                for name, parameter in self.trainable.items():
                    parameter.copy_(file.get_tensor(name))
            self.updates = int(file.metadata()["updates"])

    @contextmanager
    def _reference(self) -> Iterator[Denoiser]:
        if self._frozen is not None:
            yield self._frozen
        else:
            with reference_policy(self.denoiser):
                yield self.denoiser
