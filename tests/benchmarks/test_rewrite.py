import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "rewrite.py"


def test_a_small_run_holds_every_bar():
    command = [sys.executable, SCRIPT, "--rows", "150", "--concurrency", "8", "--patience-seconds", "100"]
    finished = subprocess.run(command, check=False, capture_output=True, text=True, timeout=200)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    figures = json.loads(finished.stdout)
    assert figures["rows"] == 150
    assert all(figures["bars"].values())
