"""Keyed randomness: what a sample draws depends on who it is, never on where or when it is computed."""

import hashlib
import random
import struct
from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class NoiseKey:
    """The identity of one sample's randomness; every stream is a pure function of it and of the salt.

    Nothing is drawn from a global generator, so batch, compaction, rank, world size and a resumed run leave every
    draw as it was. Streams are equal on every CPU; a CUDA generator is another algorithm and gives other numbers.
    """

    seed: int
    purpose: str  # what is drawn: "rollout", "hints", "evaluation"
    cycle: int
    prompt: int  # index of the prompt in its cycle
    sample: int  # index of the sample in its group

    def _digest(self, salt: tuple[int, ...], size: int) -> int:
        purpose = self.purpose.encode()
        numbers = (len(purpose), self.seed, self.cycle, self.prompt, self.sample, *salt)
        packed = struct.pack(f"<{len(numbers)}q", *numbers) + purpose
        return int.from_bytes(hashlib.blake2b(packed, digest_size=size, person=b"igpo-noise").digest(), "little")

    def generator(self, *salt: int, device: torch.device | str = "cpu") -> torch.Generator:
        """Return a fresh torch generator on `device` for this key and salt (for example the denoising step).

        torch's CPU engine keeps the low 32 bits of a seed: two unrelated streams coincide with probability 2⁻³².
        """
        return torch.Generator(device).manual_seed(self._digest(salt, 8))

    def random(self, *salt: int) -> random.Random:
        """Return a fresh Python generator for this key and salt: for choices made on the host, such as hint chunks."""
        return random.Random(self._digest(salt, 16))  # noqa: S311 - reproducible sampling, not a secret
