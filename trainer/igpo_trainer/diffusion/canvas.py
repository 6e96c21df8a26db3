"""Requests for completions, and the one left-padded tensor they are denoised in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from igpo_trainer.diffusion.noise import NoiseKey
from igpo_trainer.diffusion.predictor import CanvasTokens
from igpo_trainer.spec.errors import InvalidDataError


@dataclass(frozen=True, slots=True)
class CanvasRequest:
    """One completion to sample."""

    prompt_ids: tuple[int, ...]
    key: NoiseKey
    hints: Mapping[int, int] = field(
        default_factory=dict
    )  # canvas index -> token id, fixed through all denoising steps


@dataclass(frozen=True, slots=True)
class Completion:
    """A finished canvas."""

    ids: tuple[int, ...]  # length L, end-filled after the first end token
    length: int  # |o|: up to and including the first end token (L if there is none)

    @classmethod
    def cut(cls, canvas_ids: Sequence[int], eos_id: int) -> "Completion":
        """End-fill everything behind the first end token: masks left there, and hints too, are not part of |o|."""
        if eos_id not in canvas_ids:
            return cls(tuple(canvas_ids), len(canvas_ids))
        length = canvas_ids.index(eos_id) + 1
        return cls((*canvas_ids[:length], *(eos_id,) * (len(canvas_ids) - length)), length)


@dataclass(frozen=True, slots=True)
class Canvases:
    """N requests as one tensor: pads, prompt, L canvas positions. All canvases end in the last column.

    Left padding keeps the canvas columns equal for every prompt length, and dropping the first columns is all it
    takes to fit the batch to its longest prompt.
    """

    ids_NS: torch.Tensor
    prompt_lengths_N: torch.Tensor
    completion_length: int

    @classmethod
    def of(
        cls, requests: Sequence[CanvasRequest], completion_length: int, tokens: CanvasTokens, device: torch.device
    ) -> "Canvases":
        """Canvases of masks with their hints in place. InvalidDataError when a hint does not fit."""
        longest = max((len(request.prompt_ids) for request in requests), default=0)
        ids = []
        for request in requests:
            canvas = [tokens.mask_id] * completion_length
            for index, token in request.hints.items():
                if not 0 <= index < completion_length:
                    raise InvalidDataError(
                        f"hint at canvas index {index} is outside 0..{completion_length - 1}; drop it or raise "
                        "sampling.completionLength"
                    )
                if token == tokens.mask_id:
                    raise InvalidDataError(f"hint at canvas index {index} is the mask token {token}; drop it")
                canvas[index] = token
            ids.append([*(tokens.pad_id,) * (longest - len(request.prompt_ids)), *request.prompt_ids, *canvas])
        lengths = [len(request.prompt_ids) for request in requests]
        ids_NS = torch.tensor(ids, dtype=torch.long).view(len(requests), longest + completion_length)
        return cls(ids_NS.to(device), torch.tensor(lengths, dtype=torch.long, device=device), completion_length)

    def gather(self, index_B: torch.Tensor, longest_prompt: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(ids_BS, attention_BS) of some requests, S cut to `longest_prompt` + L; attention is False on pads."""
        width = longest_prompt + self.completion_length
        ids_BS = self.ids_NS[index_B, -width:]
        first_B = longest_prompt - self.prompt_lengths_N[index_B]
        return ids_BS, torch.arange(width, device=ids_BS.device) >= first_B[:, None]

    def completions(self, eos_id: int, indices: Sequence[int] | None = None) -> list[Completion]:
        """Finished canvases, those at `indices` or all, in the order of the requests."""
        canvases_NL = self.ids_NS[:, -self.completion_length :]
        if indices is not None:
            canvases_NL = canvases_NL[torch.tensor(indices, device=canvases_NL.device)]
        return [Completion.cut(row, eos_id) for row in canvases_NL.tolist()]
