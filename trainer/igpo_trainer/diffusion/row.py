"""Where one request stands: its active block, and the quotas still to come in it."""

from igpo_trainer.diffusion.canvas import CanvasRequest
from igpo_trainer.diffusion.schedule import transfer_quotas
from igpo_trainer.diffusion.selection import Draw
from igpo_trainer.spec.sampling import SamplingSpec


class Row:
    """The host's view of a row. How many positions are masked follows from hints and what each step kept."""

    __slots__ = ("block", "fresh", "index", "masked", "quotas", "request", "sampling", "step")

    def __init__(self, index: int, request: CanvasRequest, sampling: SamplingSpec) -> None:
        self.index = index  # of the request
        self.request = request
        self.sampling = sampling
        self.block = -1  # the active block; equal to the number of finished ones
        self.step = 0  # in the active block
        self.masked = 0  # in the active block
        self.quotas: tuple[int, ...] = ()
        self.fresh = True  # no token but the hints is on the canvas yet

    @property
    def quota(self) -> int:
        """Positions to keep in the next step at least; never 0."""
        return min(self.quotas[self.step], self.masked)

    @property
    def draw(self) -> Draw:
        """The randomness of the next step; steps count over the whole canvas, those without a quota included."""
        return Draw(self.request.key, self.block * self.sampling.steps_per_block + self.step, self.masked)

    def advance(self, kept: int) -> bool:
        """Past one step that kept `kept` positions, the quota or more; True when it left no mask in the block."""
        self.masked -= kept
        self.step += 1
        return self.masked == 0

    def open_next_block(self, eos_id: int) -> bool:
        """Move to the next block that holds a mask; False when the canvas is finished: at its end, or at an end token.

        A block without masks is all hints; only there can an end token be met here.
        """
        length, hints = self.sampling.block_length, self.request.hints
        while self.block + 1 < self.sampling.blocks:
            self.block += 1
            span = range(self.block * length, (self.block + 1) * length)
            given = [hints[index] for index in span if index in hints] if hints else []
            self.masked = length - len(given)
            if self.masked:
                self.step = 0
                self.quotas = transfer_quotas(self.masked, self.sampling.steps_per_block)
                return True
            if eos_id in given:
                break
        self.block = self.sampling.blocks
        return False

    def close(self) -> None:
        """Finish here: the completed blocks hold an end token."""
        self.block = self.sampling.blocks
