"""From a document to a session: folder, processes, data, network, judge and views, in the order that fails earliest."""

import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import torch
from accelerate.accelerator import Accelerator
from accelerate.tracking import get_available_trackers
from transformers import LlamaForCausalLM

from igpo_trainer.loop.batching import BatchSizes, needs_recomputation
from igpo_trainer.loop.data import RunData, load_data, require_rewritten
from igpo_trainer.loop.fingerprint import Fingerprint
from igpo_trainer.loop.identity import Claim, claim, require_claimable
from igpo_trainer.loop.interruption import StopRequestedError
from igpo_trainer.loop.policy import Policy
from igpo_trainer.loop.position import Position
from igpo_trainer.loop.ranks import Ranks
from igpo_trainer.loop.revisions import revisions_of
from igpo_trainer.loop.rollouts import RolloutWorker
from igpo_trainer.loop.session import Session
from igpo_trainer.loop.sft import planned_updates
from igpo_trainer.loop.stop import StopSignal
from igpo_trainer.loop.store import CheckpointStore, require_known
from igpo_trainer.loop.telemetry import Telemetry
from igpo_trainer.loop.trackers import start_trackers
from igpo_trainer.loop.world import World
from igpo_trainer.models.load import LoadedModel, load_model, recompute_activations
from igpo_trainer.observe.console import Mode, Progress
from igpo_trainer.observe.exporter import Exporter, RunIdentity
from igpo_trainer.observe.journal import Journal
from igpo_trainer.observe.records import StartRecord, StartTime
from igpo_trainer.rewards.judge import Judge
from igpo_trainer.spec.contract import BEST_DIR, CHECKPOINTS_DIR, FINAL_DIR, METRICS_PORT, REWRITTEN_DIR, Cause
from igpo_trainer.spec.document import Document, Spec
from igpo_trainer.spec.errors import InvalidRunError
from igpo_trainer.spec.identity import document_hash
from igpo_trainer.spec.igpo import IGPOTrainingSpec, JudgeSpec
from igpo_trainer.spec.sft import LengthAlignedSFTSpec


@dataclass(frozen=True, slots=True)
class RunPlace:
    """Where a run lives and how it is watched; the same document may run at a desk or in a pod."""

    root: Path
    """Folder of all runs: this one is <root>/<kind>/<name>."""
    from_root: Path | None = None
    """Folder of the run that model.from names, when it is another volume; default: root."""
    run_id: str | None = None
    attempt: int | None = None
    metrics_port: int = METRICS_PORT
    metrics_address: str = "127.0.0.1"
    port_may_move: bool = True
    """Take the next free port when metrics_port is taken: right at a desk, wrong in a pod."""
    mode: Mode | None = None
    """How progress is shown; None: a live panel in a terminal, lines elsewhere."""
    linger_seconds: float = 0.0
    """How long /metrics stays up after the end, so that the last values are scraped."""

    def run_dir(self, kind: str, name: str) -> Path:
        """Folder of a run."""
        return self.root / kind / name


def finished_model(run_dir: Path, checkpoint: Literal["Best", "Final"]) -> Path | None:
    """The model folder of a finished run; Best is the final one unless an earlier checkpoint scored higher."""
    names = (BEST_DIR, FINAL_DIR) if checkpoint == "Best" else (FINAL_DIR,)
    return next((run_dir / name for name in names if (run_dir / name / "config.json").is_file()), None)


def source_folder(document: Document, place: RunPlace) -> Path | None:
    """The model folder that `model.from` stands for; None when the run does not start from another.

    Raises InvalidRunError when that run has not finished here.
    """
    origin = document.spec.model.from_
    if origin is None:
        return None
    run_dir = (place.from_root or place.root) / origin.kind / origin.name
    if (folder := finished_model(run_dir, origin.checkpoint)) is not None:
        return folder
    raise InvalidRunError(
        f"{document.place('spec', 'model', 'from')}: {origin.kind}/{origin.name} has no finished model in {run_dir}; "
        "run it first, or put it into the same manifest",
        cause=Cause.SOURCE_NOT_FINISHED,
    )


def open_session(document: Document, place: RunPlace, ranks: Ranks, stop: StopSignal, position: Position) -> Session:
    """Build everything.

    What a person can get wrong is checked first, the cheap before the dear; the folder is claimed after that, so a
    refused run leaves nothing behind.
    """
    spec = document.spec
    refuse_unfinished_features(document)
    with ExitStack() as resources:
        began = time.time()
        run_dir = place.run_dir(document.kind, document.name)
        from_folder = source_folder(document, place)
        digest = document_hash(document)
        ranks.on_main(lambda: require_claimable(run_dir, digest, document.kind, document.name))
        ranks.on_main(lambda: require_known(run_dir / CHECKPOINTS_DIR))
        judge = resources.enter_context(judge_of(spec))
        loaded, data = ranks.everywhere(lambda: _load(document, from_folder, run_dir / REWRITTEN_DIR))
        accelerator = Accelerator(
            cpu=not torch.cuda.is_available(), log_with=list(spec.trackers) or None, project_dir=run_dir
        )
        policy = _policy(spec, loaded, data, accelerator)
        policy.gather()  # batch sizes depend on the memory that is left
        steps = planned_steps(spec, data)

        def take_folder() -> tuple[Claim, Telemetry]:
            owner = claim(
                run_dir, digest, kind=document.kind, name=document.name, run_id=place.run_id, attempt=place.attempt
            )
            return owner, _telemetry(document, place, owner, ranks, steps, accelerator, stop, resources)

        if stop.requested_anywhere(ranks):
            raise StopRequestedError("told to stop before the first step; nothing was changed, start the run again")
        owner, telemetry = ranks.on_main(take_folder) or (None, Telemetry(ranks))
        store = CheckpointStore(
            run_dir / CHECKPOINTS_DIR,
            spec.checkpoints.keep_last,
            spec.checkpoints.keep_best,
            config_hash=digest,
            fence=owner.require_owner if owner else lambda: None,
            on_file=telemetry.progress,
        )
        sizes = _batch_sizes(spec, policy, data, store, ranks)
        worker = _worker(loaded, policy, judge, ranks, telemetry, stop, sizes)
        return Session(
            spec=spec,
            run_dir=run_dir,
            ranks=ranks,
            stop=stop,
            telemetry=telemetry,
            policy=policy,
            tokenizer=loaded.tokenizer,
            data=data,
            fingerprint=Fingerprint.of(data),
            worker=worker,
            store=store,
            claim=owner,
            position=position,
            batch_sizes=sizes,
            world=World.here(ranks.world, policy.denoiser.device),
            opening=(_start_record(document, ranks, steps, began), *data.opening),
            resources=resources.pop_all(),
        )


def planned_steps(spec: Spec, data: RunData) -> int:
    """Cycles of an IGPO run, optimizer updates of an SFT run."""
    return spec.steps if isinstance(spec, IGPOTrainingSpec) else planned_updates(spec, len(data.train))


def refuse_unfinished_features(document: Document) -> None:
    """Refuse fields that this version reads but cannot carry out; silently ignoring them would train another model."""
    spec = document.spec
    if missing := set(spec.trackers) - _installed_trackers():
        raise InvalidRunError(
            f"{document.place('spec', 'trackers')}: spec.trackers {', '.join(sorted(missing))} cannot be imported "
            "here; install it beside igpo, or remove it"
        )
    if spec.suspend:
        raise InvalidRunError(
            f"{document.place('spec', 'suspend')}: spec.suspend is true, so there is nothing to run; set it to false"
        )


def _installed_trackers() -> set[str]:
    return {str(tracker) for tracker in get_available_trackers()}  # type: ignore[no-untyped-call]  # accelerate


def _load(document: Document, from_folder: Path | None, rewritten: Path) -> tuple[LoadedModel, RunData]:
    spec = document.spec
    require_rewritten(document, rewritten)
    loaded = load_model(spec.model, seed=spec.seed, from_folder=from_folder)
    return loaded, load_data(spec, loaded.tokenizer, loaded.max_positions, rewritten=rewritten)


def _batch_sizes(spec: Spec, policy: Policy, data: RunData, store: CheckpointStore, ranks: Ranks) -> BatchSizes:
    """Rows per forward: as given, as in the checkpoint to resume from, or by memory; the least of all ranks.

    Ranks must agree: the number of micro-batches decides how often they exchange gradients.
    """
    positions = max(len(e.prompt_ids) for e in data.train) + spec.completion_length
    context_positions = _context_positions(spec, data)
    longest = max(positions, context_positions or 0)
    chosen = BatchSizes.choose(
        spec.batching,
        policy.denoiser,
        positions,
        spec.sampling.block_length,
        context_positions=context_positions,
        recompute=_recompute_where_needed(spec, policy, longest, ranks),
        kept_canvases=spec.sampling.kept_canvases,
    )
    latest = store.latest()
    chosen = chosen.kept(spec.batching, None if latest is None else latest.path)
    return BatchSizes.least(ranks.gather_objects(chosen))


def _recompute_where_needed(spec: Spec, policy: Policy, positions: int, ranks: Ranks) -> bool:
    """Whether activations are made again in the backward pass. On all ranks or none: they may hold parts of weights."""
    setting, asked = spec.model.gradient_checkpointing, spec.batching.update_groups
    needed = needs_recomputation(policy.denoiser, positions, 1 if asked == "Auto" else asked)
    if setting == "Auto" and ranks.any_true(needed):
        recompute_activations(cast("LlamaForCausalLM", policy.trained.causal_lm))
        return True
    return setting == "Always"


def _context_positions(spec: Spec, data: RunData) -> int | None:
    """Tokens of the longest row whose trace does not fit length.target; None when none is trained."""
    if not isinstance(spec, LengthAlignedSFTSpec):
        return None
    long = [e for e in data.train if spec.length.canvas(len(e.trace_ids)) != spec.length.target]
    return max((len(e.prompt_ids) for e in long), default=0) + spec.length.longest if long else None


def _policy(spec: Spec, loaded: LoadedModel, data: RunData, accelerator: Accelerator) -> Policy:
    rl = spec if isinstance(spec, IGPOTrainingSpec) else None
    return Policy(
        loaded.denoiser(),
        spec.optimizer,
        planned_updates=planned_steps(spec, data) * (rl.objective.inner_updates if rl else 1),
        accelerator=accelerator,
        keep_reference=rl is not None and rl.objective.kl_coefficient > 0,
        sharded=spec.model.lora is None and accelerator.num_processes > 1,
    )


def judge_of(spec: Spec) -> Judge:
    """The judge a run uses; SFT measures correctness only."""
    return Judge(spec.judge, spec.rewards) if isinstance(spec, IGPOTrainingSpec) else Judge(JudgeSpec())


def _worker(
    loaded: LoadedModel,
    policy: Policy,
    judge: Judge,
    ranks: Ranks,
    telemetry: Telemetry,
    stop: StopSignal,
    sizes: BatchSizes,
) -> RolloutWorker:
    return RolloutWorker(
        policy=policy,
        tokenizer=loaded.tokenizer,
        judge=judge,
        ranks=ranks,
        sizes=sizes,
        on_progress=telemetry.progress,
        on_out_of_memory=telemetry.out_of_memory,
        should_stop=lambda: stop.requested,
    )


def _telemetry(
    document: Document,
    place: RunPlace,
    owner: Claim,
    ranks: Ranks,
    steps: int,
    accelerator: Accelerator,
    stop: StopSignal,
    resources: ExitStack,
) -> Telemetry:
    spec = document.spec
    rl = spec if isinstance(spec, IGPOTrainingSpec) else None
    revisions = revisions_of(spec)
    source = spec.model.from_.name if spec.model.from_ else spec.model.source or "scratch"
    exporter = Exporter(
        RunIdentity(
            kind=document.kind,
            name=document.name,
            algorithm=rl.algorithm if rl else "SFT",
            model=source,
            dataset=spec.dataset.source,
            seed=spec.seed,
            spec_hash=owner.identity.spec_hash,
            run_id=owner.identity.run_id,
            attempt=owner.identity.attempt,
            adopted=owner.adopted,
            model_revision=revisions.model,
            dataset_revision=revisions.dataset,
            planned_steps=steps,
            world_size=ranks.world,
            rewards=("correctness", "format", *(rl.rewards.custom if rl else ())),
        )
    )
    exporter.serve(place.metrics_port, place.metrics_address, next_free=place.port_may_move)
    resources.callback(exporter.close, place.linger_seconds, stop.wait)
    watcher = Progress(f"{document.kind}/{document.name}", steps, place.mode or Mode.detect())
    resources.enter_context(watcher)
    journal = resources.enter_context(Journal(place.run_dir(document.kind, document.name)))
    track = start_trackers(accelerator, str(document), {"seed": spec.seed}, resources)
    return Telemetry(ranks, journal=journal, exporter=exporter, watcher=watcher, track=track)


def _start_record(document: Document, ranks: Ranks, steps: int, began: float) -> StartRecord:
    return StartRecord(
        kind=document.kind,
        name=document.name,
        seed=document.spec.seed,
        planned_steps=steps,
        spec=document.spec.model_dump(mode="json", by_alias=True),
        time=StartTime(
            at=time.time(), seconds=time.time() - began, world_size=ranks.world, threads=torch.get_num_threads()
        ),
    )
