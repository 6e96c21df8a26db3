"""Groups of 1, 2 and 4 processes that train the same; what came out goes into folders named after their size."""

import json
import resource
import sys
import warnings
from contextlib import closing, contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import ClassVar
from unittest import mock

warnings.simplefilter("error")
warnings.filterwarnings("ignore", message="barrier\\(\\): using the device under current context")

import torch  # noqa: E402
import torch.distributed as dist  # noqa: E402
from accelerate.accelerator import Accelerator  # noqa: E402
from gang import together  # noqa: E402
from pydantic import TypeAdapter  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from conftest import Desk, load  # noqa: E402
from igpo_trainer.igpo.rollout import Group  # noqa: E402
from igpo_trainer.loop.batching import BatchSizes  # noqa: E402
from igpo_trainer.loop.cycle import CycleScorer  # noqa: E402
from igpo_trainer.loop.cycle_file import OpenCycle  # noqa: E402
from igpo_trainer.loop.igpo import IGPOLoop  # noqa: E402
from igpo_trainer.loop.lifeline import Lifeline  # noqa: E402
from igpo_trainer.loop.policy import Policy  # noqa: E402
from igpo_trainer.loop.position import Position  # noqa: E402
from igpo_trainer.loop.ranks import Ranks  # noqa: E402
from igpo_trainer.loop.room import Room  # noqa: E402
from igpo_trainer.loop.setup import open_session, source_folder  # noqa: E402
from igpo_trainer.loop.sft import SftLoop  # noqa: E402
from igpo_trainer.loop.shards import whole  # noqa: E402
from igpo_trainer.loop.stop import StopSignal  # noqa: E402
from igpo_trainer.loop.train import train  # noqa: E402
from igpo_trainer.loop.update import Updater  # noqa: E402
from igpo_trainer.models.load import load_model, recompute_activations  # noqa: E402
from igpo_trainer.spec.errors import InterruptedRunError, RunError  # noqa: E402

WORLDS = (1, 2, 4)
LORA = {"model": {"lora": {"rank": 4, "alpha": 8}}}
IGPO_CASES = {"three-by-one": (3, 1, 1), "three-by-two": (3, 2, 1), "one": (1, 1, 1), "ten-updates": (5, 1, 10)}
"""Groups of an update, groups in a micro-batch, updates. No count of groups but 1 is a multiple of 2."""
SFT_CASES = {
    "three-by-one": (3, 1, 1),
    "three-by-two": (3, 2, 1),
    "one": (1, 8, 1),
    "by-one": (9, 1, 1),
    "by-two": (9, 2, 1),
    "ten-updates": (9, 2, 10),
}
"""Traces of an update, rows in a micro-batch, updates."""
DROPOUT = {"model": {"lora": {"rank": 4, "alpha": 8, "dropout": 0.3}, "gradientCheckpointing": "Always"}}
IGPO_DOCUMENTS = {
    "igpo": Desk.igpo("igpo"),
    "igpo-sharded": Desk.igpo("igpo-sharded"),
    "igpo-lora": Desk.igpo("igpo-lora", **LORA),
}
SFT_DOCUMENTS = {
    "sft": Desk.sft("sft"),
    "sft-sharded": Desk.sft("sft-sharded"),
    "sft-lora": Desk.sft("sft-lora", **LORA),
    "sft-dropout": Desk.sft("sft-dropout", **DROPOUT),
    "context": Desk.context("context"),
}
SHARDED = {"igpo-sharded", "sft-sharded", "context"}
"""Where several processes hold parts of the weights (FSDP2) instead of copies (DDP)."""
RECOMPUTED = {"sft-sharded"}
"""Where activations are made again from when the policy is there, as gradientCheckpointing: Auto decides it."""
NO_MEMORY = 2**62
WHOLE = [IGPO_DOCUMENTS["igpo"], IGPO_DOCUMENTS["igpo-lora"], *SFT_DOCUMENTS.values()]
"""Trained from start to end."""
GROUPS = TypeAdapter(list[Group])


def fp64_policy(document, place, *, sharded=False):
    """The policy a document starts from, in double precision."""
    loaded = load_model(document.spec.model, seed=0, from_folder=source_folder(document, place))
    accelerator = Accelerator(cpu=True)
    return Policy(
        loaded.denoiser().double(),
        document.spec.optimizer,
        planned_updates=20,
        accelerator=accelerator,
        keep_reference=True,
        sharded=sharded and accelerator.num_processes > 1,
    )


@contextmanager
def double_precision():
    """Runs that are opened have fp64 weights.

    In fp32 the order of a sum is worth a relative 1e-7, of which Adam makes a whole step where a gradient is almost 0.
    """

    def loaded_model(*arguments, **options):
        loaded = load_model(*arguments, **options)
        return replace(loaded, lm=loaded.lm.double())

    with mock.patch("igpo_trainer.loop.setup.load_model", loaded_model):
        yield


def weights(policy):
    """A copy of what is trained."""
    return {name: whole(p).detach().clone() for name, p in policy.trainable.items()}


def moments(policy):
    """A copy of Adam's state."""
    return {
        f"{name}/{moment}": whole(value).clone()
        for name, p in policy.trainable.items()
        for moment, value in policy.optimizer.state[p].items()
    }


def igpo_updates(policy, spec, session, recorded, case):
    """Updates on the first recorded groups; loss and gradient norm of each."""
    groups, groups_per_batch, updates = IGPO_CASES[case]
    scorer = CycleScorer(spec, policy, session.data.train, 1)
    room = Room(BatchSizes(1, groups_per_batch), policy, session.ranks)
    updater = Updater(spec.objective, policy, session.ranks, spec.sampling.temperature, room, lambda: None)
    results = [updater.update(scorer, recorded[:groups], 1) for _ in range(updates)]
    return [[result.sums.loss, result.gradient_norm] for result in results]


class Watched(SftLoop):
    """Keeps loss and gradient norm of each update in their full precision."""

    def _update(self, examples, number):
        found = super()._update(examples, number)
        self.seen = [*getattr(self, "seen", []), found[:2]]
        return found


def sft_updates(spec, session, case):
    """Updates on traces; loss and gradient norm of each."""
    rows, update_rows, updates = SFT_CASES[case]
    session.batch_sizes = replace(session.batch_sizes, update_rows=update_rows, context_rows=update_rows)
    training = spec.training.model_copy(update={"batch_size": rows, "steps": updates + 1})
    checkpoints = spec.checkpoints.model_copy(update={"every_steps": updates + 1})
    loop = Watched(session, spec.model_copy(update={"training": training, "checkpoints": checkpoints}))
    for number in range(1, updates + 1):
        loop.step(number)
    return loop.seen


def record(folder, bases):
    """One cycle's rollouts for all groups of processes to learn from; some have rescued rollouts in them."""
    desk = Desk(folder / "recording", bases)
    (document,) = load(folder / "recording", Desk.igpo("igpo"))
    with desk.loop(Desk.igpo("igpo")) as loop:
        session = loop.session
        session.policy = fp64_policy(document, desk.place())
        groups, _ = loop.collector.sample(1)
        rescued, facts = loop.collector.rescue(groups, 1)
        rescued.sort(key=lambda g: not any(r.replaced for r in g.rollouts))
        scored = CycleScorer(loop.spec, session.policy, session.data.train, 1).score(rescued)
        assert facts.replaced
        noise = torch.Generator().manual_seed(0)
        for part in scored:  # an old policy that differs, so that ratios are not 1 and some are clipped
            part.old_RGL.add_(0.3 * torch.randn(part.old_RGL.shape, generator=noise, dtype=torch.float64))
            part.reference_RGL.add_(0.3 * torch.randn(part.old_RGL.shape, generator=noise, dtype=torch.float64))
        (folder / "recorded").mkdir()
        OpenCycle(1, scored, loop._draft(1, groups, scored, facts, facts.unjudged)).save(folder / "recorded")


class Counting(Ranks):
    """Counts what this rank is given of pooled work."""

    shares: ClassVar[list[int]] = []

    def pooled(self, items, work):
        def counted(part):
            self.shares.append(len(part))
            return work(part)

        return super().pooled(items, counted)


class OneAtOnce(CycleScorer):
    """Its process has no memory for two groups."""

    def plan(self, groups, estimator=None):
        return super().plan(groups, estimator) if len(groups) == 1 else bytearray(NO_MEMORY)


class StopAfter(StopSignal):
    """Told to stop when the ranks ask each other for the n-th time."""

    def __init__(self, asks):
        super().__init__()
        self._left = asks

    def requested_anywhere(self, ranks):
        self._left -= 1
        self.requested |= self._left <= 0
        return super().requested_anywhere(ranks)


class Rank:
    """One process of a group, and what it has to tell."""

    def __init__(self, folder, bases, world):
        self.ranks = Ranks.join(cpu=True, timeout_seconds=60)
        self.folder, self.bases = folder / str(world), bases
        self.recorded = folder / "recorded"
        self.own = self.folder / f"rank-{self.ranks.rank}"
        self.told = {}

    def documents(self, *documents):
        return load(self.own, *documents)

    def place(self, name):
        return Desk(self.folder / name, self.bases).place()

    def tell(self, name, figures, tensors=None):
        """Keep what came of a scenario, and how many collectives this rank has taken part in so far."""
        self.told[name] = figures
        if dist.is_initialized():
            self.told.setdefault("collectives", {})[name] = dist.group.WORLD._get_sequence_number_for_group()
        if tensors is not None:
            save_file(tensors, self.own / f"{name}.safetensors")

    def updates(self):
        """Updates on recorded rollouts and on traces, the last of them saved."""
        documents = self.documents(*IGPO_DOCUMENTS.values(), *SFT_DOCUMENTS.values())
        igpo, sft = documents[: len(IGPO_DOCUMENTS)], documents[len(IGPO_DOCUMENTS) :]
        place = self.place("updates")
        session = open_session(igpo[0], place, self.ranks, StopSignal(), Position())
        recorded = OpenCycle.load(self.recorded).scored
        for name, document in zip(IGPO_DOCUMENTS, igpo, strict=True):
            for case in IGPO_CASES:
                policy = fp64_policy(document, place, sharded=name in SHARDED)
                figures = igpo_updates(policy, document.spec, session, recorded, case)
                self.tell(f"{name}-{case}", figures, weights(policy))
            self.keep(name, policy)
        session.close()
        for name, document in zip(SFT_DOCUMENTS, sft, strict=True):
            session = open_session(document, place, self.ranks, StopSignal(), Position())
            for case in SFT_CASES:
                session.policy = fp64_policy(document, place, sharded=name in SHARDED)
                if name in RECOMPUTED:
                    recompute_activations(session.policy.trained.causal_lm)
                figures = sft_updates(document.spec, session, case)
                self.tell(f"{name}-{case}", figures, weights(session.policy))
            session.close()

    def keep(self, name, policy):
        """Save a policy, and restore what other groups of processes have saved."""
        folder = self.folder / "kept" / name
        folder.mkdir(parents=True, exist_ok=True)
        policy.save(folder)
        self.ranks.barrier()
        before = {"weights": weights(policy), "moments": moments(policy)}
        for part, tensors in before.items():
            save_file(tensors, self.own / f"{name}-{part}.safetensors")
        self.ranks.barrier()
        for world in [world for world in WORLDS if world <= self.ranks.world]:
            policy.load(self.folder.parent / str(world) / "kept" / name)
            expected = self.folder.parent / str(world) / "rank-0"
            for part, found in (("weights", weights(policy)), ("moments", moments(policy))):
                saved = load_file(expected / f"{name}-{part}.safetensors")
                assert found.keys() == saved.keys()
                assert all(torch.equal(found[key], saved[key]) for key in saved), f"{name} {part} of {world}"

    def live(self):
        """Rollouts of cycle 1, sampled, judged and rescued."""
        (document,) = self.documents(Desk.igpo("live"))
        session = open_session(document, self.place("live"), self.ranks, StopSignal(), Position())
        session.worker = replace(
            session.worker, ranks=Counting(**{f.name: getattr(self.ranks, f.name) for f in fields(Ranks)})
        )
        loop = IGPOLoop(session, document.spec)
        groups, _ = loop.collector.sample(1)
        rescued, _ = loop.collector.rescue(groups, 1)
        session.close()
        self.tell("live", [GROUPS.dump_python(part, mode="json") for part in (groups, rescued)])
        self.tell("shares", Counting.shares)

    def little_memory(self):
        """Rollouts and scores while the last of several ranks has memory for one row only."""
        (document,) = self.documents(Desk.igpo("little"))
        place, times = self.place("little"), []
        short = 1 < self.ranks.world == self.ranks.rank + 1
        session = open_session(document, place, self.ranks, StopSignal(), Position())
        session.worker = worker = replace(
            session.worker,
            sizes=BatchSizes(4, 4),
            on_progress=lambda _: bytearray(NO_MEMORY if short and worker.rows > 1 else 0),
            on_out_of_memory=times.append,
        )
        groups, _ = IGPOLoop(session, document.spec).collector.sample(1)
        session.close()
        self.tell("little-rollouts", [worker.rows, times, GROUPS.dump_python(groups, mode="json")])

        policy, times = fp64_policy(document, place, sharded=True), []
        room = Room(BatchSizes(4, 4), policy, self.ranks, times.append)
        scorer = (OneAtOnce if short else CycleScorer)(document.spec, policy, session.data.train, 1)
        scored = scorer.score(groups, room)
        tensors = {
            f"{name}-{i}": getattr(s, name) for i, s in enumerate(scored) for name in ("old_RGL", "reference_RGL")
        }
        self.tell("little-scores", [room.sizes.update_rows, times], tensors)

    def whole_runs(self):
        """Runs from start to end, one of them stopped before its first step and started again."""
        place = self.place("runs")
        igpo, *others = self.documents(*WHOLE)
        for document in others:
            train(document, place, self.ranks, StopSignal())
        stop = StopSignal()
        stop.requested = self.ranks.rank == self.ranks.world - 1
        try:
            train(igpo, place, self.ranks, stop)
            self.tell("stopped", 0)
        except InterruptedRunError as error:
            self.tell("stopped", int(error.exit_code))
        train(igpo, place, self.ranks, StopSignal())

    def moved_run(self, asks):
        """A part of a run that groups of another size go on with."""
        (document,) = self.documents(IGPO_DOCUMENTS["igpo"])
        place = Desk(self.folder.parent / "moved", self.bases).place()
        try:
            train(document, place, self.ranks, StopAfter(asks))
            self.tell("moved", 0)
        except InterruptedRunError as error:
            self.tell("moved", int(error.exit_code))

    def save_without_room(self):
        """Two checkpoints; for the last rank's part of the second there is no room."""
        (document,) = self.documents(IGPO_DOCUMENTS["igpo"])
        session = open_session(document, self.place("no-room"), self.ranks, StopSignal(), Position())
        session.resume()
        session.save(1)
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        if self.ranks.rank == self.ranks.world - 1:
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))
        try:
            session.save(2)
        except RunError as error:
            self.tell("no-room", [str(error), str(error.cause)])
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        session.close()

    def leave(self):
        (self.own / "told.json").write_text(json.dumps(self.told))
        self.ranks.leave()


def rank_of(folder, bases, world):
    """What one process does."""
    if world == 1:
        record(folder, bases)
    rank = Rank(folder, bases, world)
    rank.updates()
    rank.live()
    if world < 4:
        rank.little_memory()
    with double_precision():
        if world < 4:
            rank.whole_runs()
        if world > 1:
            rank.moved_run(asks=8)
    if world == 2:
        rank.save_without_room()
    rank.leave()


def without_memory(folder, bases):
    """An update over shards of weights; the memory of the last of two ranks runs out in its forward pass."""
    ranks = Ranks.join(cpu=True, timeout_seconds=60)
    own = folder / "without-memory" / f"rank-{ranks.rank}"
    (document,) = load(own, Desk.sft("short", batching={"updateGroups": 2}))

    def tell(error):
        (own / "told.json").write_text(json.dumps([str(error), error.cause]))

    try:
        with Lifeline(ranks, tell):
            session = open_session(document, Desk(own.parent, bases).place(), ranks, StopSignal(), Position())
            with closing(session):
                if not ranks.is_main:
                    block = session.policy.trained.causal_lm.get_decoder().layers[-1]
                    block.register_forward_pre_hook(lambda *_: bytearray(NO_MEMORY))
                SftLoop(session, document.spec).step(1)
    except RunError as error:
        tell(error)


def main(folder, bases):
    for world in WORLDS:
        codes = together(world, lambda world=world: rank_of(folder, bases, world))
        if any(code != 0 for code in codes):
            sys.exit(f"ranks of {world}: {codes}")
    together(2, lambda: without_memory(folder, bases), all_end=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
