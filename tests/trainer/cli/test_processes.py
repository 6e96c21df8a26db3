"""Whole runs in processes of their own, two ranks through the real torchrun: at a desk, in a pod, interrupted."""

import json
import os
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


@pytest.fixture(scope="module")
def together(tools, trained, alone, tmp_path_factory):
    """The same run at a desk in two processes: what it printed, and its folder."""
    runs = Path(shutil.copytree(trained.runs, tmp_path_factory.mktemp("together") / "runs"))
    command = [sys.executable, "-m", "igpo_trainer.cli.main", "run", "-f", str(alone.manifest), "--runs", str(runs)]
    done = subprocess.run(
        [*command, "--processes", "2", *tools.PORT],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return SimpleNamespace(done=done, run_dir=runs / "IGPOTraining" / "tiny")


def test_two_processes_print_progress_once_and_no_noise(together):
    assert together.done.stderr == ""
    lines = together.done.stdout.splitlines()
    assert lines[0].startswith("start  IGPOTraining/tiny")
    assert sum(line.startswith(f"step {STEPS}/{STEPS} ") for line in lines) == 1
    assert lines[-1].startswith(f"IGPOTraining/tiny: {STEPS} steps in ")


def test_two_processes_roll_out_what_one_does(tools, alone, together):
    """Until the first update nothing differs but the order of sums; afterwards samples may part."""
    ours, theirs = tools.journal(together.run_dir), tools.journal(alone.run_dir)
    first, same = steps_of(ours)[0], steps_of(theirs)[0]
    for name, value in first.items():
        assert value == pytest.approx(same[name]) or name in (
            "entropy",
            "ratio",
            "kl",
            "loss",
            "grad_norm",
            "clipped",
            "advantage",
        )
    assert first["entropy"] == pytest.approx(same["entropy"])
    assert first["grad_norm"] == pytest.approx(same["grad_norm"], rel=1e-3)
    assert [line for line in ours if line["step"] == 0] == [line for line in theirs if line["step"] == 0]
    assert [line["event"] for line in ours] == [line["event"] for line in theirs]


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
        output, self.errors = self.process.communicate(timeout=100)
        self.output += output
        message = json.loads(self.log.read_bytes())
        assert message["code"] == self.process.returncode
        return message


@pytest.mark.timeout(300)
def test_a_pod_told_to_stop_saves_and_its_successor_ends_as_if_nothing_had_happened(
    tools, alone, together, runs, tmp_path
):
    pod = Pod(alone.manifest, runs, tmp_path)
    try:
        pod.until(f"step  2/{STEPS} ")
        pod.process.send_signal(signal.SIGTERM)
        stopped = pod.end()
        assert stopped["code"] == 75
        assert 2 <= stopped["step"] < STEPS
        assert stopped["checkpoint"] == f"step-{stopped['step']:08d}"
        assert stopped["reason"] == "told to stop; the state is saved, start the run again to continue"
        assert pod.errors.count(stopped["reason"]) == 1
        assert "Traceback" not in pod.errors
        run_dir = runs / "IGPOTraining" / "tiny"
        assert (run_dir / "checkpoints" / stopped["checkpoint"] / "complete").is_file()
        assert not (run_dir / "final").exists()

        pod = Pod(alone.manifest, runs, tmp_path)
        ended = pod.end()
    finally:
        pod.process.kill()
        pod.process.communicate()
    assert ended["code"] == 0
    assert ended["step"] == STEPS
    assert f"step  {stopped['step']}/" not in pod.output
    assert tools.journal(run_dir) == tools.journal(together.run_dir)
    weights = "final/model.safetensors"
    assert (run_dir / weights).read_bytes() == (together.run_dir / weights).read_bytes()


def test_an_interrupt_from_the_keyboard_saves_and_says_in_one_line_how_to_go_on(tools, alone, runs):
    command = [sys.executable, "-m", "igpo_trainer.cli.main", "run", "-f", str(alone.manifest), "--runs", str(runs)]
    process = subprocess.Popen(
        [*command, *tools.PORT],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
    )
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
