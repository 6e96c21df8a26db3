"""Everything a training loop works with, built once from a document, and the actions both loops share."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from transformers import PreTrainedTokenizerFast

from igpo_trainer.folder import remove_drafts, write_atomically
from igpo_trainer.loop.batching import BatchSizes
from igpo_trainer.loop.data import RunData
from igpo_trainer.loop.evaluation import evaluate
from igpo_trainer.loop.fingerprint import Fingerprint
from igpo_trainer.loop.identity import Claim
from igpo_trainer.loop.interruption import StopRequestedError
from igpo_trainer.loop.policy import Policy
from igpo_trainer.loop.position import Position
from igpo_trainer.loop.ranks import Ranks
from igpo_trainer.loop.rollouts import RolloutWorker
from igpo_trainer.loop.room import Room
from igpo_trainer.loop.stop import StopSignal
from igpo_trainer.loop.store import CheckpointInfo, CheckpointStore, checkpoint_name
from igpo_trainer.loop.telemetry import Telemetry
from igpo_trainer.loop.world import World
from igpo_trainer.models.save import save_model
from igpo_trainer.observe.evaluations import Evaluation
from igpo_trainer.observe.records import (
    CheckpointRecord,
    EndRecord,
    EvaluationRecord,
    JournalRecord,
    Phase,
    State,
    Time,
)
from igpo_trainer.spec.contract import BEST_DIR, EVALUATIONS_DIR, FINAL_DIR, CheckpointStatus
from igpo_trainer.spec.document import Spec
from igpo_trainer.spec.errors import RunError
from igpo_trainer.spec.run import HOLDOUT, EvaluationSet

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Session:
    """A run with everything it needs; closed by `close`."""

    spec: Spec
    run_dir: Path
    ranks: Ranks
    stop: StopSignal
    telemetry: Telemetry
    policy: Policy
    tokenizer: PreTrainedTokenizerFast
    data: RunData
    fingerprint: Fingerprint
    """Of `data`."""
    worker: RolloutWorker
    store: CheckpointStore
    claim: Claim | None
    """Ownership of the folder; on the main rank only."""
    position: Position
    """How far the run is, for whoever reports its end."""
    batch_sizes: BatchSizes
    world: World
    opening: tuple[JournalRecord, ...]
    """First lines of a fresh journal."""
    resources: ExitStack

    @property
    def room(self) -> Room:
        """The memory for passes of an update."""
        telemetry = self.telemetry
        return Room(self.batch_sizes, self.policy, self.ranks, telemetry.out_of_memory, telemetry.skipped_update)

    @contextmanager
    def phase(self, phase: Phase) -> Iterator[None]:
        """Time a phase; after it every rank learns whether one was told to stop."""
        with self.telemetry.phase(phase):
            yield
        self.leave_if_told()

    def on_update_progress(self) -> None:
        """After a micro-batch: show progress, leave if told to. A collective."""
        self.telemetry.progress()
        self.leave_if_told()

    def leave_if_told(self) -> None:
        """Raise StopRequestedError on every rank when any was told to stop. A collective."""
        if self.stop.requested_anywhere(self.ranks):
            raise StopRequestedError

    def require_owner(self) -> None:
        """Raise InterruptedRunError on every rank when a newer attempt owns the folder. A collective.

        Called right before every line of the journal: an attempt that comes back from the dead writes nothing more.
        """
        self.ranks.on_main(self._require_owner)

    def _require_owner(self) -> None:
        if self.claim is not None:
            self.claim.require_owner()

    def resume(self) -> CheckpointInfo | None:
        """Load the newest complete checkpoint, verified, and cut the journal back to it; None on a fresh start.

        Whatever is refused is refused before a line of the journal is cut.
        """
        latest = self.ranks.from_main(self._verified)
        if latest is not None:
            self.ranks.everywhere(partial(self.fingerprint.require_same, latest.path))
        if self.claim is not None:
            self.store.prune()
        if self.telemetry.journal is not None:
            self.telemetry.journal.truncate_after(-1 if latest is None else latest.step)
        if latest is None:
            for record in self.opening:
                self.telemetry.publish(record)
            return None
        self.position.step = latest.step
        self.ranks.everywhere(partial(self.policy.load, latest.path))
        self._tell_changes(latest)
        self.telemetry.resumed()
        self._show_checkpoints(latest, self.store.best())
        return latest

    def _verified(self) -> CheckpointInfo | None:
        """The newest checkpoint, every byte of it read again, after what a killed writer left is cleared away."""
        self.store.recover()
        remove_drafts(self.run_dir)
        latest = self.store.latest()
        return None if latest is None else self.store.verify(latest.path)

    def _tell_changes(self, checkpoint: CheckpointInfo) -> None:
        """Say what it means when the processes are not those that saved the checkpoint."""
        saved = World.load(checkpoint.path)
        if saved is not None and self.ranks.is_main and (changes := saved.changes(self.world)):
            logger.warning("%s %s", checkpoint.path.name, changes)

    def evaluate(self, sets: Sequence[EvaluationSet], *, step: int) -> None:
        """Measure the policy on each set, on all ranks together; sets that the journal already has are passed over.

        A run that was stopped in the middle of an evaluation so goes on where it was.
        """
        for measured in sets[self._journalled(EvaluationRecord, step) :]:
            with self.phase(Phase.EVALUATE):
                problems = self.data.measured(measured)
                found = evaluate(self.worker, problems, measured, self.spec, step=step)
                self.ranks.on_main(partial(self._keep_samples, found))
                self.telemetry.publish(found.record)

    def _keep_samples(self, found: Evaluation) -> None:
        """Write every completion of an evaluation, before the journal says that it was made."""
        self._require_owner()
        path = found.path(self.run_dir / EVALUATIONS_DIR)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, found.encode())

    def save_scheduled(self, step: int, write_more: Callable[[Path], None] = lambda _: None) -> None:
        """`save`, unless the journal says that this was done before the run was stopped."""
        if not self._journalled(CheckpointRecord, step):
            self.save(step, write_more)

    def _journalled(self, kind: type[JournalRecord], step: int) -> int:
        """How many records of a kind the journal has of a step; the main rank's answer on every rank."""
        journal = self.telemetry.journal

        def found() -> int:
            return 0 if journal is None else sum(isinstance(r, kind) and r.step == step for r in journal.records())

        return self.ranks.from_main(found)

    def save(self, step: int, write_more: Callable[[Path], None] = lambda _: None, *, scheduled: bool = True) -> None:
        """Publish a checkpoint of the state after `step`. All ranks wait until it is on the disk.

        One that is not `scheduled` (the run was told to stop) leaves no line in the journal, which stays the same as
        that of a run that was never stopped.
        """
        with self.telemetry.phase(Phase.CHECKPOINT):
            draft, record, score = self.ranks.from_main(lambda: self._begin_save(step, scheduled=scheduled))
            try:
                self.ranks.everywhere(lambda: self._fill(draft, write_more))
                self.ranks.on_main(lambda: self._publish(draft, record, score))
            except BaseException as error:
                if self.ranks.is_main:
                    self.store.discard(draft)
                    if isinstance(error, RunError) and self.telemetry.exporter is not None:
                        self.telemetry.exporter.checkpoint_failed()
                raise

    def _begin_save(self, step: int, *, scheduled: bool) -> tuple[Path, CheckpointRecord, float | None]:
        """The folder to fill, the journal's line and the score. On the main rank."""
        self._require_owner()
        journal = self.telemetry.journal
        score = None
        if journal is not None:
            journal.sync()
            score = _held_out_accuracy(journal.records(), step) if scheduled else self._score_kept(step)
        best = self.store.best()
        is_best = score is not None and (best is None or best.score is None or score >= best.score)
        record = CheckpointRecord(step=step, name=checkpoint_name(step), best=is_best, time=Time(at=time.time()))
        if journal is not None and scheduled:
            # Before the checkpoint, so that a resumed journal holds the line exactly when the checkpoint exists.
            journal.write(record)
            journal.sync()
        return self.store.begin(step), record, score

    def _fill(self, draft: Path, write_more: Callable[[Path], None]) -> None:
        """Write this rank's files of a checkpoint."""
        with self.store.full_disk_told(draft):
            self.policy.save(draft)
            if self.ranks.is_main:
                self.batch_sizes.save(draft)
                self.world.save(draft)
                self.fingerprint.save(draft)
                write_more(draft)

    def _publish(self, draft: Path, record: CheckpointRecord, score: float | None) -> None:
        info = self.store.publish(draft, record.step, score)
        self.telemetry.show(record)
        self._show_checkpoints(info, self.store.best())

    def publish_result(self, step: int) -> None:
        """Write `final/`, and `best/` when an earlier checkpoint scored higher on the held-out problems."""
        with self.telemetry.phase(Phase.CHECKPOINT):
            self._publish_model(FINAL_DIR)
            best = self.ranks.from_main(self.store.best)
            if best is not None and best.step != step:
                self.ranks.everywhere(partial(self.policy.load_weights, best.path))
                self._publish_model(BEST_DIR)
            self.ranks.on_main(lambda: self._publish_end(step))
        self.telemetry.state(State.FINISHED)

    def _publish_model(self, name: str) -> None:
        """Write the policy as a model folder. A collective."""
        self.policy.gather()

        def save() -> None:
            self._require_owner()
            save_model(self.policy.denoiser.policy_lm, self.tokenizer, self.run_dir / name)

        self.ranks.on_main(save)

    def _publish_end(self, step: int) -> None:
        best, latest = self.store.best(), self.store.latest()
        if latest is not None:
            self._show_checkpoints(latest, best or latest)
        self._require_owner()
        self.telemetry.publish(EndRecord(step=step, time=Time(at=time.time())))
        if self.telemetry.journal is not None:
            self.telemetry.journal.sync()

    def _show_checkpoints(self, latest: CheckpointInfo, best: CheckpointInfo | None) -> None:
        """Tell /status and whoever reports the end; the main rank's files are everyone's, but only it says so."""
        position = self.position
        position.checkpoint = latest.path.name
        if not self.ranks.is_main:
            return
        position.latest, position.best = _status(latest), None if best is None else _status(best)
        if self.telemetry.exporter is not None:
            self.telemetry.exporter.checkpoint(position.latest, position.best)

    def _score_kept(self, step: int) -> float | None:
        """Score of the checkpoint that an unscheduled one replaces: only scheduled ones compete for best."""
        return next((info.score for info in self.store.all() if info.step == step), None)

    def close(self) -> None:
        """Release workers, sockets and files."""
        self.resources.close()


def _held_out_accuracy(records: Sequence[object], step: int) -> float | None:
    """Accuracy on the held-out problems measured at `step`; greedy, as configured first."""
    scores = [
        r.accuracy for r in records if isinstance(r, EvaluationRecord) and r.step == step and r.dataset == HOLDOUT
    ]
    return scores[0] if scores else None


def _status(info: CheckpointInfo) -> CheckpointStatus:
    return CheckpointStatus(step=info.step, path=str(info.path), digest=info.digest)
