"""A real, tiny, bidirectional Llama behind the trainer's Denoiser, and a record of what the sampler asks of it."""

from collections.abc import Callable

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from igpo_trainer.models.denoiser import Denoiser
from igpo_trainer.models.key_values import KeyValues
from igpo_trainer.models.tokens import SpecialTokens

VOCABULARY, EOS, PAD, MASK = 41, 1, 0, 40


class RecordingPredictor:
    """Passes on to a Denoiser; remembers batch shapes, positions and how often it was called."""

    def __init__(self, lm: LlamaForCausalLM, end_bias: float, *, logit_shift: bool) -> None:
        self.tokens = SpecialTokens(mask_id=MASK, eos_id=EOS, pad_id=PAD, banned_ids=(39, MASK))
        self.denoiser = Denoiser(lm, self.tokens, logit_shift=logit_shift)
        self.device = self.denoiser.device
        self.end_bias = end_bias
        self.batches: list[tuple[int, int]] = []
        self.positions: list[int] = []

    @property
    def calls(self) -> int:
        return len(self.batches)

    def logits_at(
        self, ids_BS: torch.Tensor, attention_BS: torch.Tensor, rows_M: torch.Tensor, columns_M: torch.Tensor
    ) -> torch.Tensor:
        self.batches.append((ids_BS.shape[0], ids_BS.shape[1]))
        self.positions.append(len(rows_M))
        assert bool((ids_BS[rows_M, columns_M] == MASK).all()), "the head is only run on masked positions"
        return self._biased(self.denoiser.logits_at(ids_BS, attention_BS, rows_M, columns_M))

    def key_values(self, rows: int, width: int) -> KeyValues:
        return self.denoiser.key_values(rows, width)

    def logits_keeping(self, stored, slots, lanes, ids_BS, *places) -> torch.Tensor:
        self.batches.append((ids_BS.shape[0], ids_BS.shape[1]))
        return self._biased(self.denoiser.logits_keeping(stored, slots, lanes, ids_BS, *places))

    def logits_reading(self, stored, slots, starts_B, length, ids_BS, *places) -> torch.Tensor:
        self.batches.append((ids_BS.shape[0], length))
        return self._biased(self.denoiser.logits_reading(stored, slots, starts_B, length, ids_BS, *places))

    def _biased(self, logits_MV: torch.Tensor) -> torch.Tensor:
        logits_MV[:, EOS] += self.end_bias
        return logits_MV

    def full_logits(self, ids_S: torch.Tensor) -> torch.Tensor:
        """Logits [S, V] of one unpadded sequence, straight from the language model."""
        with torch.no_grad():
            logits_SV = self.denoiser.lm(ids_S[None], use_cache=False).logits[0]
        logits_SV[:, EOS] += self.end_bias
        logits_SV[:, list(self.tokens.banned_ids)] = float("-inf")
        return logits_SV


@pytest.fixture(scope="session")
def predictor_of() -> Callable[..., RecordingPredictor]:
    """Factory: predictor_of(end_bias=0.0, dtype=float64, logit_shift=False) with the same weights each time."""
    models: dict[torch.dtype, LlamaForCausalLM] = {}

    def build(
        end_bias: float = 0.0, dtype: torch.dtype = torch.float64, *, logit_shift: bool = False
    ) -> RecordingPredictor:
        if dtype not in models:
            config = LlamaConfig(
                vocab_size=VOCABULARY,
                hidden_size=16,
                intermediate_size=32,
                num_hidden_layers=2,
                num_attention_heads=2,
                max_position_embeddings=128,
                initializer_range=0.6,
            )
            config.is_causal = False
            with torch.random.fork_rng():
                torch.manual_seed(0)
                models[dtype] = LlamaForCausalLM(config).to(dtype).eval()
        return RecordingPredictor(models[dtype], end_bias, logit_shift=logit_shift)

    return build
