"""A bidirectional language model seen as p(token | canvas)."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, cast

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import LlamaForCausalLM, PreTrainedModel

from igpo_trainer.models.head import TokenScores, logits_of, score_tokens
from igpo_trainer.models.key_values import KeyValues
from igpo_trainer.models.tokens import SpecialTokens

Precision = Literal["BF16", "FP32"]


class Denoiser(nn.Module):
    """Scores tokens of a partly masked canvas.

    Wraps a transformers causal-LM class whose config has `is_causal=False`, or a PEFT model over one. `forward` is what
    DDP wraps. Only hidden states of the decoder are made for all positions; the head runs on the positions asked for.

    `precision` BF16 computes under autocast with fp32 sums in the head; FP32 computes in the weights' own precision
    (fp64 weights included). With `logit_shift` position i is predicted from the hidden state of position i - 1, as in
    models adapted from autoregressive ones (Dream).

    Raises:
        ValueError: the model's config is causal; its first token could not see the last.

    """

    def __init__(
        self, lm: nn.Module, tokens: SpecialTokens, *, precision: Precision = "FP32", logit_shift: bool = False
    ) -> None:
        super().__init__()
        self.lm = lm
        self.tokens = tokens
        self.precision = precision
        self.logit_shift = logit_shift
        self.banned_N: Tensor
        self.register_buffer("banned_N", torch.tensor(tokens.banned_ids, dtype=torch.long), persistent=False)
        if getattr(self.causal_lm.config, "is_causal", True):
            raise ValueError("a denoiser attends in both directions; set is_causal=False in the model's config")

    def forward(
        self,
        ids_BS: Tensor,
        attention_BS: Tensor,
        rows_M: Tensor,
        columns_M: Tensor,
        tokens_MK: Tensor,
        temperature: float = 1.0,
    ) -> TokenScores:
        """Log-softmax(logits / T) of tokens_MK at (rows_M, columns_M), fp32 or wider, and the entropy there in nats.

        attention_BS is 1 on real tokens and 0 on padding. With M = 0 the result is empty but still depends on every
        trainable parameter, so that data-parallel ranks without work take part in the gradient exchange.
        """
        hidden_MD = self._hidden(ids_BS, attention_BS, rows_M, columns_M)
        weight_VD, bias_V = self._head()
        return score_tokens(
            hidden_MD,
            weight_VD,
            tokens_MK,
            banned_N=self.banned_N,
            temperature=temperature,
            bias_V=bias_V,
            compute_dtype=self._head_dtype,
        )

    @torch.no_grad()
    def logits_at(self, ids_BS: Tensor, attention_BS: Tensor, rows_M: Tensor, columns_M: Tensor) -> Tensor:
        """Logits [M, V] at (rows_M, columns_M), fp32 or wider, banned ids at -inf; no gradient."""
        return self._logits(self._hidden(ids_BS, attention_BS, rows_M, columns_M))

    def key_values(self, rows: int, width: int) -> KeyValues:
        """An empty store for `rows` canvases of at most `width` columns, padding included."""
        return KeyValues(self.causal_lm.config.num_hidden_layers, rows, width)

    @torch.no_grad()
    def logits_keeping(
        self,
        stored: KeyValues,
        slots: Sequence[int],
        lanes: Sequence[int],
        ids_BS: Tensor,
        attention_BS: Tensor,
        rows_M: Tensor,
        columns_M: Tensor,
    ) -> Tensor:
        """As `logits_at`; the keys and values of lane `lanes[i]` are stored in slot `slots[i]`."""
        stored.keep(slots, lanes, ids_BS.shape[1])
        return self._logits(self._hidden(ids_BS, attention_BS, rows_M, columns_M, stored))

    @torch.no_grad()
    def logits_reading(
        self,
        stored: KeyValues,
        slots: Sequence[int],
        starts_B: Tensor,
        length: int,
        ids_BS: Tensor,
        attention_BS: Tensor,
        rows_M: Tensor,
        columns_M: Tensor,
    ) -> Tensor:
        """Logits [M, V] from a forward over the columns starts_B … starts_B + `length` of each row alone.

        These columns attend to each other and to the keys and values stored in the row's slot for all other columns,
        as old as they are. (rows_M, columns_M) must lie within.
        """
        # With shifted logits the window's first column is predicted by its left neighbour.
        offsets_K = torch.arange(-int(self.logit_shift), length, device=ids_BS.device)
        window_BK = (starts_B[:, None] + offsets_K).clamp(min=0)
        stored.read(slots, window_BK, ids_BS.shape[1])
        return self._logits(self._hidden(ids_BS, attention_BS, rows_M, columns_M, stored, window_BK))

    def autocast(self) -> AbstractContextManager[object]:
        """Enter the precision this model computes in; the outermost entry caches the cast weights."""
        if self.precision == "FP32":
            return nullcontext()
        return torch.autocast(self.banned_N.device.type, dtype=torch.bfloat16)

    @property
    def device(self) -> torch.device:
        """Where inputs are expected and scores appear."""
        return self.banned_N.device

    @property
    def _head_dtype(self) -> torch.dtype | None:
        return torch.bfloat16 if self.precision == "BF16" else None

    @property
    def policy_lm(self) -> LlamaForCausalLM | PeftModel:
        """The wrapped model as it is saved: with its adapters if it has any."""
        return cast("LlamaForCausalLM | PeftModel", self.lm)

    @property
    def causal_lm(self) -> PreTrainedModel:
        """The transformers model, from under its adapters if it has any."""
        peft_or_plain = cast("Any", self.lm)
        return cast("PreTrainedModel", getattr(peft_or_plain, "get_base_model", lambda: peft_or_plain)())

    def _head(self) -> tuple[Tensor, Tensor | None]:
        head = self.causal_lm.get_output_embeddings()  # type: ignore[no-untyped-call]  # transformers leaves it untyped
        return head.weight, getattr(head, "bias", None)

    def _logits(self, hidden_MD: Tensor) -> Tensor:
        weight_VD, bias_V = self._head()
        return logits_of(hidden_MD, weight_VD, banned_N=self.banned_N, bias_V=bias_V, compute_dtype=self._head_dtype)

    def _hidden(
        self,
        ids_BS: Tensor,
        attention_BS: Tensor,
        rows_M: Tensor,
        columns_M: Tensor,
        stored: KeyValues | None = None,
        window_BK: Tensor | None = None,
    ) -> Tensor:
        """Hidden states [M, D] at (rows_M, columns_M); `window_BK` are the columns computed, all of them if None."""
        if ids_BS.shape[0] == 0:  # a rank without rows still runs one, so that its graph holds every parameter
            ids_BS = ids_BS.new_full((1, 1), self.tokens.pad_id)
            attention_BS = attention_BS.new_ones((1, 1))
        # Positions count real tokens only, so that left padding changes nothing.
        position_ids_BS = (attention_BS.long().cumsum(-1) - 1).clamp(min=0)
        if self.logit_shift:
            first_B = attention_BS.long().argmax(dim=-1)
            columns_M = torch.maximum(columns_M - 1, first_B[rows_M])
        if window_BK is not None:
            ids_BS, position_ids_BS = ids_BS.gather(1, window_BK), position_ids_BS.gather(1, window_BK)
            columns_M = (window_BK[rows_M] == columns_M[:, None]).long().argmax(dim=-1)
        decoder = self.causal_lm.get_decoder()  # type: ignore[no-untyped-call]  # transformers leaves it untyped
        with self.autocast():
            # The cache goes by place: its keyword has two names among the transformers releases we accept.
            decoded = decoder(ids_BS, attention_BS, position_ids_BS, stored, use_cache=stored is not None)
        hidden_BSD: Tensor = decoded.last_hidden_state
        return hidden_BSD[rows_M, columns_M]
