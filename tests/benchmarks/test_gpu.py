import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from gpu_stages.plan import ESTIMATES, Plan
from gpu_stages.stages import STAGES
from speed.floor import forward_flops, rollout_flops
from speed.results import write_section
from speed.shape import SHAPES

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.py"
TINY = ("--shape", "tiny", "--device", "cpu", "--repeats", "1", "--cached-rows", "4")


def run(*options):
    command = [sys.executable, SCRIPT, *options]
    return subprocess.run(command, check=False, capture_output=True, text=True)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A whole run on the CPU, and its folder."""
    out = tmp_path_factory.mktemp("gpu")
    return run(*TINY, "--out", str(out)), out


def test_the_whole_path_runs_on_a_cpu_and_prints_every_figure(finished):
    told, out = finished
    assert told.returncode == 0, told.stderr
    assert {path.stem for path in out.iterdir()} == set(STAGES)
    lines = told.stdout.splitlines()
    for phase in ("rollout", "rescue", "logprob", "update", "step"):
        assert any(re.match(rf"  {phase} +[\d.]+ s, +[\d.]+ % of the floor", line) for line in lines)
    assert any(line.startswith("exact sampler: ") for line in lines)
    for name in ("plain", "prefix", "dual"):
        assert any(line.startswith(f"sampler, {name}") for line in lines)
    assert [line.split(":")[0] for line in lines[-4:]] == [
        "rollouts, plain / prefix",
        "rollouts, plain / dual",
        "rollouts, plain / exact",
        "update, one forward per completion / shared",
    ]


def test_a_stage_that_is_done_is_not_done_again(finished):
    _, out = finished
    before = {path: path.stat().st_mtime_ns for path in out.iterdir() if path.stem != "update"}
    (out / "update.json").unlink()
    again = run(*TINY, "--out", str(out))
    assert again.returncode == 0, again.stderr
    assert (out / "update.json").exists()
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_without_a_gpu_it_says_so_in_one_line():
    refused = run("--out", "/nowhere")
    assert refused.returncode == 1
    assert refused.stderr.splitlines() == [
        "gpu.py needs an NVIDIA GPU and finds none; --shape tiny --device cpu tries its path on this machine"
    ]


def test_no_stage_starts_that_would_end_too_late(tmp_path):
    now = [0.0]
    plan = Plan(tmp_path, "subject", 50.0, clock=lambda: now[0])

    def device():
        now[0] += ESTIMATES["device"] * 2
        return {}

    assert plan.carry_out("device", device)
    # twice as slow as estimated: what is estimated at 20 s would take 40, of which 30 are left
    assert not plan.carry_out("agreement", lambda: pytest.fail("there is no time for it"))
    assert plan.results() == {"device": {}}


def test_the_file_of_another_shape_is_not_taken_for_this_one(tmp_path):
    for subject, value in (("one", 1), ("other", 2)):
        assert Plan(tmp_path, subject, 1e9).carry_out("device", lambda value=value: {"value": value})
    assert json.loads((tmp_path / "device.json").read_text())["found"] == {"value": 2}
    assert Plan(tmp_path, "one", 1e9).results() == {}


def test_estimates_fit_into_nine_minutes():
    assert ESTIMATES.keys() == STAGES.keys()
    assert sum(ESTIMATES.values()) < 9 * 60


def test_the_floor_is_the_published_arithmetic_of_the_8b_shape():
    shape = SHAPES["llada-8b"]
    assert forward_flops(shape, 1, 0, 0) == pytest.approx(13.959e9, rel=1e-3)
    assert forward_flops(shape, 0, 0, 1) == pytest.approx(1.036e9, rel=1e-3)
    assert rollout_flops(shape) == pytest.approx(937e12, rel=5e-3)
    assert rollout_flops(shape, "Dual") == pytest.approx(117e12, rel=1e-2)


def test_a_section_of_the_page_takes_the_place_of_its_predecessor(tmp_path):
    page = tmp_path / "RESULTS.md"
    for title, line in (("One", "1"), ("Two", "2"), ("One", "3")):
        write_section(page, title, "python it", [line])
    text = page.read_text()
    assert [line for line in text.splitlines() if line.startswith("#")] == ["# Results", "## One", "## Two"]
    assert "\n```\n3\n```\n" in text
    assert "\n1\n" not in text
