"""Keys and values of whole canvases, kept between forwards of a bidirectional model."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer


@dataclass(frozen=True, slots=True)
class Keeping:
    """A forward over whole canvases: lane `lanes[i]` is stored in slot `slots[i]`."""

    slots: Sequence[int]
    lanes: Sequence[int]
    width: int
    """Columns of the canvases; they are the last ones of a slot."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A forward over windows: row i reads slot `slots[i]`, and has keys and values of its own at columns_BK alone."""

    slots: Sequence[int]
    columns_BK: Tensor
    width: int
    """Columns of the canvases, of which columns_BK counts."""


class KeyValues(Cache):
    """A transformers cache for masked diffusion: what a window attends to is all of its canvas, on both sides.

    transformers' own classes append to the past. Here `keep` says that the next forward is over whole canvases, whose
    keys and values are stored, and `read` that it is over a window of each canvas, whose new keys and values stand in
    for the stored ones. Canvases end in the last column of their slot, whatever their padding. Memory: 2 · layers ·
    rows · width · key-value heads · head size elements, taken at the first forward.
    """

    def __init__(self, layers: int, rows: int, width: int) -> None:
        self.turn: Keeping | Reading = Keeping((), (), 0)
        self.rows, self.width = rows, width
        super().__init__(layers=[_Layer(self) for _ in range(layers)])

    def keep(self, slots: Sequence[int], lanes: Sequence[int], width: int) -> None:
        """Store lane `lanes[i]` of the next forward in slot `slots[i]`; several slots may hold one lane."""
        self.turn = Keeping(slots, lanes, width)

    def read(self, slots: Sequence[int], columns_BK: Tensor, width: int) -> None:
        """Row i of the next forward is the window columns_BK[i] of the canvas in slot `slots[i]`."""
        self.turn = Reading(slots, columns_BK, width)


class _Layer(DynamicLayer):
    def __init__(self, whole: KeyValues) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # transformers leaves it untyped
        self.whole = whole

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        # Zeros, not garbage: a column that attention hides must still be finite.
        self.keys, self.values = (
            states.new_zeros(self.whole.rows, states.shape[1], self.whole.width, states.shape[3])
            for states in (key_states, value_states)
        )
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *_args: object, **_kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Keys and values [B, heads, width, size] that the queries of this forward attend to."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        assert self.keys is not None, "initialised above"
        assert self.values is not None, "initialised above"
        turn = self.whole.turn
        if isinstance(turn, Keeping):
            _keep(self.keys, key_states, turn)
            _keep(self.values, value_states, turn)
            return key_states, value_states
        return _read(self.keys, key_states, turn), _read(self.values, value_states, turn)

    def get_mask_sizes(self, _queries: object) -> tuple[int, int]:
        """(columns attended to, offset); transformers releases differ in what they tell of the queries."""
        return self.whole.turn.width, 0

    def get_seq_length(self) -> int:
        """0: positions are always given, and nothing is appended."""
        return 0


def _keep(stored_RHSD: Tensor, states_BHSD: Tensor, turn: Keeping) -> None:
    slots = torch.tensor(turn.slots, device=stored_RHSD.device)
    if list(turn.lanes) != list(range(states_BHSD.shape[0])):
        states_BHSD = states_BHSD[torch.tensor(turn.lanes, device=stored_RHSD.device)]
    stored_RHSD[:, :, -turn.width :].index_copy_(0, slots, states_BHSD)


def _read(stored_RHSD: Tensor, states_BHKD: Tensor, turn: Reading) -> Tensor:
    """Stored states with those of the windows in their place; a copy, unless all slots are read in order.

    Written into the store itself they do no harm: each forward until the next `keep` overwrites the same columns.
    """
    read_BHSD = stored_RHSD[:, :, -turn.width :]
    if list(turn.slots) != list(range(stored_RHSD.shape[0])):
        read_BHSD = read_BHSD[torch.tensor(turn.slots, device=stored_RHSD.device)]
    row_B1 = torch.arange(len(turn.slots), device=stored_RHSD.device)[:, None]
    read_BHSD[row_B1, :, turn.columns_BK] = states_BHKD.transpose(1, 2)
    return read_BHSD
