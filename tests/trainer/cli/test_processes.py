"""Whole runs in processes of their own, two ranks through the real torchrun: at a desk, in a pod, interrupted."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

STEPS = 30


def steps_of(lines):
    return [line for line in lines if line["event"] == "step"]


@pytest.fixture(scope="module")
def alone(tools, trained, tmp_path_factory):
    """The manifest, and its journal and result from one process."""
    folder = tmp_path_factory.mktemp("alone")
    manifest = tools.write_manifest(folder / "run.yaml", tools.igpo(trained.source, steps=STEPS))
    runs = Path(shutil.copytree(trained.runs, folder / "runs"))
    assert tools.igpo_command("run", "-f", manifest, "--runs", runs, "--quiet", *tools.PORT) == 0
    return SimpleNamespace(manifest=manifest, run_dir=runs / "IGPOTraining" / "tiny")


def at_a_desk(manifest, runs, *options):
    """Start `igpo run` in a process of its own."""
    command = [sys.executable, "-m", "igpo_trainer.cli.main", "run", "-f", manifest, "--runs", runs, *options]
    return subprocess.Popen(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
    )


@pytest.fixture
def together(tools, trained, alone, tmp_path):
    """The same run at a desk in two processes: its folder."""
    runs = Path(shutil.copytree(trained.runs, tmp_path / "together"))
    process = at_a_desk(alone.manifest, runs, "--processes", 2, *tools.PORT)
    output, errors = process.communicate(timeout=200)
    assert (process.returncode, errors) == (0, "")
    lines = output.splitlines()
    assert lines[0].startswith("start  IGPOTraining/tiny")
    assert sum(line.startswith(f"step {STEPS}/{STEPS} ") for line in lines) == 1
    assert lines[-1].startswith(f"IGPOTraining/tiny: {STEPS} steps in ")
    return runs / "IGPOTraining" / "tiny"


class Pod:
    """One start of igpo-launch on a volume, as a pod would."""

    def __init__(self, manifest, runs, folder):
        self.log = folder / "termination-log"
        self.log.write_bytes(b"")
        options = ["--manifest", manifest, "--runs", runs, "--metrics-port", 0, "--linger-seconds", 0]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "igpo_trainer.cli.launch", *map(str, options)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "PET_NPROC_PER_NODE": "2",
                "IGPO_TERMINATION_LOG": str(self.log),
                "IGPO_RUN_ID": "0a1b2c",
                "IGPO_ATTEMPT": "1",
            },
        )
        self.output = ""

    def until(self, beginning):
        """Read its log up to a line."""
        for line in self.process.stdout:
            self.output += line
            if line.startswith(beginning):
                return
        pytest.fail(f"ended before {beginning!r}: {self.output}{self.process.stderr.read()}")

    def end(self):
        """Its exit code and termination message."""
        output, self.errors = self.process.communicate(timeout=200)
        self.output += output
        message = json.loads(self.log.read_bytes())
        assert message["code"] == self.process.returncode
        return message


def require_equal_until_the_first_update(ours, theirs):
    """Rollouts, verdicts and hints are the same; sums over ranks are rounded otherwise, so samples part later."""
    assert [line["event"] for line in ours] == [line["event"] for line in theirs]
    assert [line for line in ours if line["step"] == 0] == [line for line in theirs if line["step"] == 0]
    first, same = steps_of(ours)[0], steps_of(theirs)[0]
    rounded = {
        name for name in first if name in ("entropy", "ratio", "clipped", "advantage", "kl", "loss", "grad_norm")
    }
    assert {name: first[name] for name in first.keys() - rounded} == {
        name: same[name] for name in same.keys() - rounded
    }
    assert first["entropy"] == pytest.approx(same["entropy"])
    assert first["grad_norm"] == pytest.approx(same["grad_norm"], rel=1e-3)


@pytest.mark.timeout(700)
def test_two_ranks_train_as_one_and_a_pod_told_to_stop_is_continued_as_if_nothing_had_happened(
    tools, alone, together, runs, tmp_path
):
    require_equal_until_the_first_update(tools.journal(together), tools.journal(alone.run_dir))
    run_dir = runs / "IGPOTraining" / "tiny"
    pod = Pod(alone.manifest, runs, tmp_path)
    try:
        pod.until(f"step  2/{STEPS} ")
        pod.process.send_signal(signal.SIGTERM)
        stopped = pod.end()
        assert stopped["code"] == 75
        assert 2 <= stopped["step"] < STEPS
        assert stopped["checkpoint"] == f"step-{stopped['step']:08d}"
        assert stopped["reason"] == "told to stop; the state is saved, start the run again to continue"
        assert re.fullmatch(rf"igpo: rank [01]: {stopped['reason']}\n", pod.errors)
        assert (run_dir / "checkpoints" / stopped["checkpoint"] / "complete").is_file()
        assert not (run_dir / "final").exists()

        pod = Pod(alone.manifest, runs, tmp_path)
        ended = pod.end()
    finally:
        pod.process.kill()
        pod.process.communicate()
    assert (ended["code"], ended["step"], pod.errors) == (0, STEPS, "")
    assert tools.journal(run_dir) == tools.journal(together)
    weights = "final/model.safetensors"
    assert (run_dir / weights).read_bytes() == (together / weights).read_bytes()


def test_an_interrupt_from_the_keyboard_saves_and_says_in_one_line_how_to_go_on(tools, alone, runs):
    process = at_a_desk(alone.manifest, runs, *tools.PORT)
    try:
        for line in process.stdout:
            if line.startswith("step  2/"):
                break
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 75
    assert errors == "igpo: told to stop; the state is saved, start the run again to continue\n"
    assert tools.igpo_command("run", "-f", alone.manifest, "--runs", runs, "--quiet", *tools.PORT) == 0
    assert tools.journal(runs / "IGPOTraining" / "tiny") == tools.journal(alone.run_dir)
