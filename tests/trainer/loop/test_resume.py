"""A run that was stopped or killed ends as if nothing had happened: same weights, same journal but for times."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from igpo_trainer.loop.cycle_file import OpenCycle
from igpo_trainer.loop.stop import StopSignal
from igpo_trainer.spec.errors import InterruptedRunError


class StopsAt(StopSignal):
    """Told to stop when it is asked for the n-th time; each question is a point where a signal could have come."""

    def __init__(self, moment):
        super().__init__()
        self._left = moment

    def requested_anywhere(self, ranks):
        self._left -= 1
        self.requested |= self._left < 0
        return super().requested_anywhere(ranks)


class StopsInRollout(StopSignal):
    """Told to stop while the n-th rollout phase denoises: `requested` is read between denoising steps."""

    def __init__(self, reads):
        self._left = reads
        super().__init__()

    @property
    def requested(self):
        self._left -= 1
        return self._left < 0

    @requested.setter
    def requested(self, value):
        pass


def result(desk, folder):
    samples = (folder / "samples.jsonl").read_text()
    return desk.lines(folder), (folder / "final" / "model.safetensors").read_bytes(), samples


def run_with_stops(desk, document, stops):
    """Train with a stop at each of `stops`, then to the end; the folder, and how often it was interrupted."""
    interrupted = 0
    for stop in stops:
        try:
            desk.train(document, stop)
        except InterruptedRunError:
            interrupted += 1
    return desk.train(document), interrupted


@pytest.fixture(scope="module")
def whole(tmp_path_factory, bases):
    """What runs leave that nobody stopped."""
    from_here = tmp_path_factory.mktemp("whole")
    return from_here, {}


def uninterrupted(whole, desk, document):
    root, known = whole
    key = f"{document['kind']}/{document['metadata']['name']}"
    if key not in known:
        here = type(desk)(root, desk._bases)
        known[key] = result(here, here.train(document))
    return known[key]


def rl(desk):
    return desk.igpo("rl", steps=2, objective={"innerUpdates": 3}, batching={"updateGroups": 3})


@pytest.mark.parametrize("moment", [0, 1, 3, 6, 8, 11, 12, 16, 20, 22])
def test_igpo_stopped_at_any_point_ends_the_same(desk, whole, moment):
    folder, _ = run_with_stops(desk, rl(desk), [StopsAt(moment)])
    assert result(desk, folder) == uninterrupted(whole, desk, rl(desk))


def test_igpo_stopped_again_and_again_ends_the_same(desk, whole):
    folder, interrupted = run_with_stops(desk, rl(desk), [StopsAt(n) for n in (3, 4, 5)])
    assert interrupted == 3
    assert result(desk, folder) == uninterrupted(whole, desk, rl(desk))


def test_igpo_stopped_in_the_middle_of_a_rollout_ends_the_same(desk, whole):
    stops = [StopsInRollout(reads) for reads in (2, 11, 30)]
    folder, interrupted = run_with_stops(desk, rl(desk), stops)
    assert interrupted == 3
    assert result(desk, folder) == uninterrupted(whole, desk, rl(desk))


def test_a_stop_between_inner_updates_saves_the_open_cycle_with_its_rollouts(desk):
    updates = []
    for moment in (6, 8):
        here = type(desk)(desk.root / str(moment), desk._bases)
        with pytest.raises(InterruptedRunError, match="start the run again") as caught:
            here.train(rl(desk), StopsAt(moment))
        assert caught.value.exit_code == 75
        latest = max((here.root / "IGPOTraining" / "rl" / "checkpoints").iterdir())
        assert latest.name == "step-00000000"
        updates.append(OpenCycle.load(latest).inner)
    assert updates == [0, 1]


def supervised(desk, make=None):
    return (make or desk.sft)(
        "tuned" if make is None else "context",
        model={"lora": {"rank": 4, "alpha": 8, "dropout": 0.2}},
        training={"steps": 4},
        evaluation={"everySteps": 2, "datasets": [{"source": "holdout"}, {"source": "holdout", "samples": 2}]},
        checkpoints={"everySteps": 2},
        batching={"updateGroups": 4},
    )


@pytest.mark.parametrize("moment", [0, 1, 3, 4, 5, 9, 11])
def test_sft_with_dropout_stopped_at_any_point_ends_the_same(desk, whole, moment):
    folder, interrupted = run_with_stops(desk, supervised(desk), [StopsAt(moment)])
    assert interrupted
    assert result(desk, folder) == uninterrupted(whole, desk, supervised(desk))


def two_canvases(desk):
    return supervised(desk, desk.context)


@pytest.mark.parametrize("moment", [1, 4, 6, 9])
def test_sft_on_two_canvases_stopped_at_any_point_ends_the_same(desk, whole, moment):
    folder, interrupted = run_with_stops(desk, two_canvases(desk), [StopsAt(moment)])
    assert interrupted
    assert result(desk, folder) == uninterrupted(whole, desk, two_canvases(desk))
    assert all(8 * 16 < step["tokens"]["target"] < 8 * 20 for step in desk.events(folder, "sft_step"))


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {here!r})
from conftest import Desk, igpo, sft
from igpo_trainer.observe.journal import Journal

root, bases, kind, fatal = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
write = Journal.write

def fatal_write(journal, record):
    global fatal
    write(journal, record)
    fatal -= 1
    if fatal == 0:
        os.kill(os.getpid(), signal.SIGKILL)

Journal.write = fatal_write
documents = {{"rl": lambda: {rl}, "tuned": lambda: {tuned}, "context": lambda: {context}}}
Desk(root, bases).train(documents[kind]())
"""


@pytest.mark.parametrize(("make", "fatal"), [(rl, 9), (supervised, 6), (two_canvases, 7)])
def test_killed_by_the_kernel_between_checkpoints_a_run_ends_the_same(desk, whole, bases, make, fatal):
    document = make(desk)
    here = str(Path(__file__).parent)
    script = KILLED.format(here=here, rl=repr(rl(desk)), tuned=repr(supervised(desk)), context=repr(two_canvases(desk)))
    arguments = [str(desk.root), str(bases), document["metadata"]["name"], str(fatal)]
    ended = subprocess.run([sys.executable, "-c", script, *arguments], env=os.environ, timeout=90, check=False)
    assert ended.returncode == -signal.SIGKILL
    folder = desk.root / document["kind"] / document["metadata"]["name"]
    assert not (folder / "final").exists()
    desk.train(document)
    assert result(desk, folder) == uninterrupted(whole, desk, document)
