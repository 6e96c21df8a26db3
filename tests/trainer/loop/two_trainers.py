"""One rank of two: updates on recorded rollouts in fp64, and whole runs; what came out goes into the folder given."""

import json
import sys
import warnings
from dataclasses import replace
from pathlib import Path

warnings.simplefilter("error")
warnings.filterwarnings("ignore", message="barrier\\(\\): using the device under current context")

from accelerate.accelerator import Accelerator  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from conftest import Desk, load  # noqa: E402
from igpo_trainer.cli.worker import end_process  # noqa: E402
from igpo_trainer.loop.batching import BatchSizes  # noqa: E402
from igpo_trainer.loop.cycle import CycleScorer  # noqa: E402
from igpo_trainer.loop.cycle_file import OpenCycle  # noqa: E402
from igpo_trainer.loop.policy import Policy  # noqa: E402
from igpo_trainer.loop.position import Position  # noqa: E402
from igpo_trainer.loop.ranks import Ranks  # noqa: E402
from igpo_trainer.loop.room import Room  # noqa: E402
from igpo_trainer.loop.setup import open_session, source_folder  # noqa: E402
from igpo_trainer.loop.sft import SftLoop  # noqa: E402
from igpo_trainer.loop.stop import StopSignal  # noqa: E402
from igpo_trainer.loop.train import train  # noqa: E402
from igpo_trainer.loop.update import Updater  # noqa: E402
from igpo_trainer.models.load import load_model  # noqa: E402
from igpo_trainer.spec.errors import InterruptedRunError  # noqa: E402

IGPO_CASES = {"three-by-one": (3, 1), "three-by-two": (3, 2), "one": (1, 1)}
"""Prompts of the update, and groups in a micro-batch."""
SFT_CASES = {"three-by-one": (3, 1), "three-by-two": (3, 2), "one": (1, 8), "by-one": (9, 1), "by-two": (9, 2)}
"""Traces of the update, and rows in a micro-batch."""
SFT_DOCUMENTS = {"sft": Desk.sft("two"), "context": Desk.context("two-canvases")}


def fp64_policy(document, place):
    loaded = load_model(document.spec.model, seed=0, from_folder=source_folder(document, place))
    denoiser = loaded.denoiser().double()
    accelerator = Accelerator(cpu=True)
    return Policy(denoiser, document.spec.optimizer, planned_updates=9, accelerator=accelerator, keep_reference=True)


def igpo_update(document, place, session, recorded, case):
    """Parameters after one update on the first recorded groups, with the loss."""
    prompts, groups_per_batch = IGPO_CASES[case]
    policy, spec = fp64_policy(document, place), document.spec
    scorer = CycleScorer(spec, policy, session.data.train, 1)
    room = Room(BatchSizes(1, groups_per_batch), policy, session.ranks)
    updater = Updater(spec.objective, policy, session.ranks, spec.sampling.temperature, room, lambda: None)
    result = updater.update(scorer, recorded[:prompts], 1)
    return {n: p.detach().clone() for n, p in policy.trainable.items()}, [result.sums.loss, result.gradient_norm]


def sft_update(document, place, session, case):
    """Parameters after one update on the first traces, with loss and gradient norm as journalled."""
    rows, update_rows = SFT_CASES[case]
    session.batch_sizes = replace(session.batch_sizes, update_rows=update_rows, context_rows=update_rows)
    session.policy = fp64_policy(document, place)
    training = document.spec.training.model_copy(update={"batch_size": rows})
    loop = SftLoop(session, document.spec.model_copy(update={"training": training}))
    loop.step(1)
    return {n: p.detach().clone() for n, p in session.policy.trainable.items()}


def main(folder, bases):
    ranks = Ranks.join(cpu=True, timeout_seconds=60)
    igpo_document, *documents = load(folder / f"rank-{ranks.rank}", Desk.igpo("two"), *SFT_DOCUMENTS.values())
    place = Desk(folder / "two", bases).place()
    numbers = {}
    session = open_session(igpo_document, place, ranks, StopSignal(), Position())
    recorded = OpenCycle.load(folder / "recorded").scored
    for case in IGPO_CASES:
        weights, numbers[case] = igpo_update(igpo_document, place, session, recorded, case)
        save_file(weights, folder / f"igpo-{case}-{ranks.rank}.safetensors")
    session.close()
    for name, document in zip(SFT_DOCUMENTS, documents, strict=True):
        session = open_session(document, place, ranks, StopSignal(), Position())
        for case in SFT_CASES:
            save_file(sft_update(document, place, session, case), folder / f"{name}-{case}-{ranks.rank}.safetensors")
        session.close()

    place = Desk(folder / "runs", bases).place()
    for document in documents:
        train(document, place, ranks, StopSignal())
    stop = StopSignal()
    stop.requested = ranks.rank == 1
    try:
        train(igpo_document, place, ranks, stop)
        numbers["stopped"] = "no"
    except InterruptedRunError as error:
        numbers["stopped"] = str(int(error.exit_code))
    train(igpo_document, place, ranks, StopSignal())
    (folder / f"numbers-{ranks.rank}.json").write_text(json.dumps(numbers))
    ranks.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
    end_process(0)
