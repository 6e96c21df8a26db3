import re
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "sampler.py"


def run(*options):
    command = [sys.executable, SCRIPT, *options]
    finished = subprocess.run(command, check=False, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.splitlines()


def test_it_checks_that_both_samplers_draw_the_same_and_prints_its_ratio_last(tmp_path):
    page = tmp_path / "RESULTS.md"
    lines = run("--shape", "tiny", "--repeats", "2", "--results", str(page))
    assert "exact = plain: the same tokens" in "\n".join(lines)
    assert len([line for line in lines if line.endswith("% of tokens differ from the exact ones")]) == 4
    ratios = [line.split(":")[0] for line in lines if re.fullmatch(r"(plain / .+|ratio): \d+\.\d", line)]
    assert ratios[-3:] == ["plain / exact, fp64 noise", "plain / exact, fp32 noise", "ratio"]
    assert len(ratios) == 6
    text = page.read_text()
    assert "## Samplers, shape tiny\n\n`python benchmarks/sampler.py --shape tiny --repeats 2" in text
    assert lines[0] in text
    assert lines[-1] in text
