"""A run in a process whose address space ends a little above what it has taken: allocations of the rest fail for real.

Arguments: a manifest, the folder of all runs, and MiB of room (0: no limit). It writes what came of it as JSON.
"""

import json
import resource
import sys
import warnings
from pathlib import Path

import psutil
import torch

warnings.simplefilter("error")

from igpo_trainer.loop.igpo import IGPOLoop  # noqa: E402
from igpo_trainer.loop.position import Position  # noqa: E402
from igpo_trainer.loop.ranks import Ranks  # noqa: E402
from igpo_trainer.loop.setup import RunPlace, open_session  # noqa: E402
from igpo_trainer.loop.sft import SftLoop  # noqa: E402
from igpo_trainer.loop.stop import StopSignal  # noqa: E402
from igpo_trainer.observe.console import Mode  # noqa: E402
from igpo_trainer.spec.errors import RunError  # noqa: E402
from igpo_trainer.spec.manifest import load_manifest  # noqa: E402

COUNTERS = ("igpo_trainer_out_of_memory_total", "igpo_trainer_skipped_updates_total")


def counted(session):
    """Samples above 0 of the two counters, by their label."""
    return {
        next(iter(sample.labels.values())): sample.value
        for family in session.telemetry.exporter.registry.collect()
        for sample in family.samples
        if sample.name in COUNTERS and sample.value
    }


def main(manifest, root, mebibytes):
    (document,) = load_manifest(Path(manifest))
    place = RunPlace(root=Path(root), metrics_port=0, mode=Mode.QUIET)
    session = open_session(document, place, Ranks(), StopSignal(), Position())
    first = session.batch_sizes.rollout_rows, session.batch_sizes.update_rows
    loop = (IGPOLoop if document.kind == "IGPOTraining" else SftLoop)(session, document.spec)
    ids = torch.zeros(1, 4, dtype=torch.long)  # whatever a first forward loads is there before room is measured
    session.policy.denoiser.logits_at(ids, torch.ones_like(ids), ids[0, :1], ids[0, :1])
    if mebibytes:
        taken = psutil.Process().memory_info().vms
        resource.setrlimit(resource.RLIMIT_AS, (taken + mebibytes * 2**20,) * 2)
    error = None
    try:
        loop.run()
    except RunError as raised:
        error = str(raised)
    last = session.batch_sizes.rollout_rows, session.batch_sizes.update_rows
    told = {"first": first, "last": last, "counted": counted(session), "error": error}
    sys.stdout.write(json.dumps(told) + "\n")
    session.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
