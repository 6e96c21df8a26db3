import re
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "update_step.py"


def test_it_checks_that_all_arms_make_the_same_update_and_prints_its_ratio_last():
    command = [sys.executable, SCRIPT, "--shape", "tiny", "--repeats", "2"]
    finished = subprocess.run(command, check=False, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    lines = finished.stdout.splitlines()
    assert lines[0].startswith("Machine: ")
    assert [line.split(":")[0] for line in lines[1:3]] == ["torch.float64", "torch.float32"]
    assert "same loss" in lines[1]
    timed = [line for line in lines if re.match(r"(separate|shared).* [\d.]+ +[\d.]+ +[\d.]+ +[\d.]+$", line)]
    assert len(timed) == 3
    assert len([line for line in lines if "peak memory" in line]) == 3
    assert re.fullmatch(r"ratio: \d+\.\d", lines[-1])
