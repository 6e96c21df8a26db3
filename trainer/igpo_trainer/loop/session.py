"""Everything a training loop works with, built once from a document, and the actions both loops share."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from igpo_trainer.data.problem import EncodedProblem
from igpo_trainer.loop.data import RunData
from igpo_trainer.loop.evaluation import evaluate
from igpo_trainer.loop.folder import publish_dir, scratch_dir
from igpo_trainer.loop.identity import Claim
from igpo_trainer.loop.interruption import StopRequestedError
from igpo_trainer.loop.policy import Policy
from igpo_trainer.loop.ranks import Ranks
from igpo_trainer.loop.rollouts import RolloutWorker
from igpo_trainer.loop.stop import StopSignal
from igpo_trainer.loop.store import CheckpointInfo, CheckpointStore
from igpo_trainer.loop.telemetry import Telemetry
from igpo_trainer.models.save import save_model
from igpo_trainer.observe.records import CheckpointRecord, EndRecord, EvaluationRecord, Phase, State, Time
from igpo_trainer.spec.contract import BEST_DIR, FINAL_DIR, CheckpointStatus
from igpo_trainer.spec.document import Spec
from igpo_trainer.spec.run import HOLDOUT, EvaluationSet
