"""Passes over groups or traces in the memory there is."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from igpo_trainer.loop.batching import BatchSizes
from igpo_trainer.loop.policy import Policy
from igpo_trainer.loop.ranks import Ranks
from igpo_trainer.models.memory import is_out_of_memory, release_memory
from igpo_trainer.observe.exporter import SkipReason
from igpo_trainer.spec.errors import RunError

T = TypeVar("T")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Room:
    """Makes passes with fewer rows at once where memory runs out."""

    sizes: BatchSizes
    """Its update_rows and context_rows are halved."""
    policy: Policy
    ranks: Ranks
    on_out_of_memory: Callable[[int], None] = lambda _: None
    """Told that memory ran out, once."""
    on_skipped: Callable[[SkipReason], None] = lambda _: None
    """Told why an update is not made."""

    def fit(self, work: Callable[[], T], step: int) -> T:
        """Return work(), which changes nothing but gradients, begun again with half as many rows until memory holds it.

        Only in a run of one process: several may be waiting for each other's gradients. Raises RunError there, and when
        there is no room for one row.
        """
        while True:
            try:
                return work()
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
            # Past the handler nothing holds the error, nor through its traceback the tensors of the pass.
            self.policy.discard_gradients()
            release_memory(self.policy.denoiser.device)
            self._halve(step)

    def _halve(self, step: int) -> None:
        rows = self.sizes.update_rows
        if self.ranks.world > 1 or not self.sizes.halve_updates():
            self.on_skipped("oom")
            raise RunError(
                f"step {step}: memory ran out with {rows} rows (batching.updateGroups) in a pass of {self.ranks.world} "
                "processes; lower it, set model.gradientCheckpointing: Always, or give each process more memory"
            )
        self.on_out_of_memory(1)
        logger.warning(
            "memory ran out with %d rows in a pass, going on with %d; batching.updateGroups: %d avoids the attempt",
            rows,
            self.sizes.update_rows,
            self.sizes.update_rows,
        )
