import re
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "update_step.py"
TINY = "--vocabulary 64 --hidden 32 --layers 1 --canvas 8 --prompt 6 --group 4 --groups 2 --updates 2 --repeats 2"


def run(options):
    command = [sys.executable, SCRIPT, *options.split()]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=100)


def test_it_checks_that_all_arms_make_the_same_update_and_prints_its_ratio_last():
    finished = run(TINY)
    assert finished.returncode == 0, finished.stderr
    lines = finished.stdout.splitlines()
    assert [line.split(":")[0] for line in lines[:2]] == ["torch.float64", "torch.float32"]
    assert "same loss" in lines[0]
    assert len([line for line in lines if line.startswith(("separate", "shared"))]) == 3
    assert re.fullmatch(r"ratio: \d+\.\d", lines[-1])
