"""The samplers at a tiny shape and on a model that is there, as docs/sampling.md tells people to type."""

import re
import subprocess
import sys
from pathlib import Path

from igpo_trainer.models.save import save_model
from igpo_trainer.models.scratch import build_scratch
from igpo_trainer.spec.manifest import load_manifest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "sampler.py"

MANIFEST = """
apiVersion: igpo.dev/v1alpha1
kind: LengthAlignedSFT
metadata: {name: tiny}
spec:
  model: {scratch: {hiddenSize: 32, layers: 1, heads: 2, intermediateSize: 64, maxPositions: 64}, precision: FP32}
  dataset:
    source: builtin:word-problems
    holdout: {rows: 4}
    maxPromptTokens: 40
    wordProblems: {rows: 20, difficulties: [{steps: 1, share: 0.5}, {steps: 2, share: 0.5}]}
  length: {target: 16}
  training: {steps: 1, batchSize: 4}
  sampling: {completionLength: 16, steps: 4, blockLength: 8}
"""


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


def test_on_a_trained_model_every_sampler_has_its_accuracy(tmp_path):
    manifest = tmp_path / "run.yaml"
    manifest.write_text(MANIFEST)
    (document,) = load_manifest(manifest)
    save_model(*build_scratch(document.spec.model.scratch, 0), tmp_path / "runs" / document.kind / "tiny" / "final")
    _, header, *rows = run("--manifest", str(manifest), "--runs", str(tmp_path / "runs"))
    assert header.split() == ["data", "set", "accuracy", "95", "%", "interval", "seconds", "tokens/s"]
    assert [row.partition("  ")[0] for row in rows] == ["exact", "prefix cache", "dual cache", "dual + threshold"]
    assert all(re.search(r" holdout +\d+\.\d % ", row) for row in rows)
