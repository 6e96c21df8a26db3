"""Passes over groups or traces in the memory there is."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from igpo_trainer.loop.batching import BatchSizes
from igpo_trainer.loop.policy import Policy
from igpo_trainer.loop.ranks import Ranks
from igpo_trainer.models.memory import is_out_of_memory, release_memory
from igpo_trainer.observe.exporter import SkipReason
from igpo_trainer.spec.errors import RunError

S = TypeVar("S")
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
    """Told how often memory ran out, over all processes, after it did."""
    on_skipped: Callable[[SkipReason], None] = lambda _: None
    """Told why an update is not made."""

    def fit(self, work: Callable[[], T], step: int) -> T:
        """Return work(), which changes nothing but gradients, begun again with half as many rows until memory holds it.

        Only in a run of one process: several may be waiting for each other's gradients, or for parts of weights. Raises
        RunError there, which whoever watches over the processes tells the others, and where one row has no room.
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
            if self.ranks.world > 1 or not self._halve():
                raise self._none_left(step, "set model.gradientCheckpointing: Always, ")
            self.on_out_of_memory(1)

    def pooled(self, items: Sequence[S], work: Callable[[list[S]], list[T]], step: int) -> list[T]:
        """Do work over items that all ranks hold, as Ranks.pooled does, update_rows of them at once. A collective.

        work is none, and every process may do it as often as it likes: where memory runs out, that process goes on
        with half as many rows, whatever the others do; later passes keep to that everywhere. Raises RunError on every
        rank when one of them has no room for one row.
        """
        times = 0

        def in_parts(share: list[S]) -> list[T]:
            nonlocal times
            done: list[T] = []
            begin = 0
            while begin < len(share):
                end = begin + self.sizes.update_rows
                try:
                    done += work(share[begin:end])
                    begin = end
                    continue
                except (MemoryError, RuntimeError) as error:
                    if not is_out_of_memory(error):
                        raise
                release_memory(self.policy.denoiser.device)
                if not self._halve():
                    raise self._none_left(step, "")
                times += 1
            return done

        results = self.ranks.pooled(items, in_parts)
        everywhere = self.ranks.gather_objects((self.sizes, times))
        least = BatchSizes.least([sizes for sizes, _ in everywhere])
        self.sizes.update_rows, self.sizes.context_rows = least.update_rows, least.context_rows
        if total := sum(theirs for _, theirs in everywhere):
            self.on_out_of_memory(total)
        return results

    def _halve(self) -> bool:
        """Take half as many rows from now on; False when one is taken already."""
        rows = self.sizes.update_rows
        if not self.sizes.halve_updates():
            return False
        logger.warning(
            "memory ran out with %d rows in a pass, going on with %d; batching.updateGroups: %d avoids the attempt",
            rows,
            self.sizes.update_rows,
            self.sizes.update_rows,
        )
        return True

    def _none_left(self, step: int, advice: str) -> RunError:
        """The error of a process that cannot go on with fewer rows, after it is counted."""
        self.on_skipped("oom")
        rows = self.sizes.update_rows
        lower = "dataset.maxPromptTokens" if rows == 1 else "it"
        return RunError(
            f"step {step}: memory ran out with {rows} rows (batching.updateGroups) in a pass of {self.ranks.world} "
            f"processes; {advice}lower {lower}, or give each process more memory"
        )
