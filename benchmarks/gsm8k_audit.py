"""Readers, reward and hints on the real GSM8K: every figure that must hold on it, from a folder with its two files.

The folder holds train.jsonl and test.jsonl in GSM8K's own schema (question, answer with #### at the end); nothing is
downloaded. Checked are:

  every row is read, in the format GSM8K and by fields (calculator notes kept);
  the reward judges every reference answer right and every answer plus one wrong, and so does math-verify alone;
  hints of all train traces under excludeAnswer: Anywhere show no number equal to the answer, cut numbers included.

Figures without a bar: the share of tokens that can be hints under either setting, hints that show nothing, and leaks
under excludeAnswer: Statement, which prove that the search finds what is there. Tokens are those of a byte-level BPE
trained on the traces, or of --tokenizer. The last lines are the figures as JSON; exit code 1 if a bar is missed.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gsm8k_parts.answers import by_reward, by_verifier
from gsm8k_parts.hints import audit_hints
from gsm8k_parts.tokenizer import loaded, trained
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from igpo_trainer.data.encode import encode_all
from igpo_trainer.data.problem import EncodedProblem, Problem
from igpo_trainer.data.readers import read_problems
from igpo_trainer.spec.dataset import AnswerRule, DatasetSpec, PromptSpec
from igpo_trainer.spec.errors import InvalidRunError, RunError

READINGS = {"format": {"format": "GSM8K"}, "fields": {"answer": AnswerRule(after="####")}}


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="holds train.jsonl and test.jsonl")
    parser.add_argument("--tokenizer", type=Path, help="model folder or .gguf file [trained on the traces]")
    parser.add_argument("--canvas", type=int, default=256, help="canvas length L, in tokens [%(default)s]")
    parser.add_argument("--draws", type=int, default=2, help="hints at the default share, a trace [%(default)s]")
    parser.add_argument("--traces", type=int, help="hints of the first so many train traces only [all]")
    arguments = parser.parse_args()
    for name in ("canvas", "draws", "traces"):
        if (value := getattr(arguments, name)) is not None and value < 1:
            parser.error(f"--{name} {value} is below 1; give 1 or more")
    return arguments


def main() -> int:
    """Check everything, print the figures."""
    arguments = parse()
    try:
        figures = audit(arguments)
    except RunError as error:
        print(error, file=sys.stderr)
        return int(error.exit_code)
    print(json.dumps(figures, indent=1, ensure_ascii=False))
    for name, kept in figures["bars"].items():
        print(f"{'kept  ' if kept else 'MISSED'} {name}", file=sys.stderr)
    return 0 if all(figures["bars"].values()) else 1


def audit(arguments: argparse.Namespace) -> dict[str, Any]:
    """All figures, and under `bars` what was promised of them."""
    rows = {split: count_rows(arguments.folder / f"{split}.jsonl") for split in ("train", "test")}
    read = {
        (split, name): read_problems(
            DatasetSpec.model_validate({"source": str(arguments.folder / f"{split}.jsonl"), **fields}), PromptSpec()
        )
        for split in rows
        for name, fields in READINGS.items()
    }
    counts = {f"{split}/{name}": len(found.problems) for (split, name), found in read.items()}
    problems = [problem for split in rows for problem in read[split, "format"].problems]
    with progress() as bar:
        task = bar.add_task("reward", total=len(problems))
        reward = by_reward(problems, lambda done: bar.advance(task, done))
        task = bar.add_task("math-verify", total=len(problems))
        verifier = by_verifier(problems, lambda done: bar.advance(task, done))
        hints: dict[str, dict[str, Any]] = {}
        for name in READINGS:
            traces = read["train", name].problems[: arguments.traces]
            hints[name] = hint_figures(traces, arguments, bar, name)
    every = len(problems)
    return {
        "rows": rows,
        "read": counts,
        "left_out": {f"{split}/{name}": dict(found.left_out) for (split, name), found in read.items()},
        "reward": reward,
        "math_verify": verifier,
        "tokenizer": str(arguments.tokenizer or "byte-level BPE trained on the traces"),
        "canvas": arguments.canvas,
        "hints": hints,
        "bars": {
            "every row is read": all(counts[f"{split}/{name}"] == rows[split] for split in rows for name in READINGS),
            "the reward judges every answer right": reward["answer_right"] == every,
            "the reward judges every answer + 1 wrong": reward["plus_one_wrong"] == every,
            "math-verify judges every answer right": verifier["answer_right"] == every,
            "math-verify judges every answer + 1 wrong": verifier["plus_one_wrong"] == every,
            "Anywhere leaks no answer": all(of["Anywhere"]["leaks"] == 0 for of in hints.values()),
            "no number is shown in part": all(of[rule]["cut_numbers"] == 0 for of in hints.values() for rule in of),
        },
    }


def hint_figures(
    traces: Sequence[Problem], arguments: argparse.Namespace, bar: Progress, name: str
) -> dict[str, dict[str, Any]]:
    """Figures of both settings of excludeAnswer over the same traces."""
    tokenizer = loaded(arguments.tokenizer) if arguments.tokenizer else trained(p.trace for p in traces)
    encoded = encode(traces, tokenizer, arguments)
    found: dict[str, dict[str, Any]] = {}
    for rule in ("Anywhere", "Statement"):
        task = bar.add_task(f"hints, {rule}, {name}", total=len(encoded))
        figures = audit_hints(
            encoded,
            tokenizer,
            rule,
            canvas=arguments.canvas,
            draws=arguments.draws,
            advance=lambda done, task=task: bar.advance(task, done),
        )
        found[rule] = {"traces": len(encoded), **figures.as_json()}
    return found


def encode(traces: Sequence[Problem], tokenizer: Any, arguments: argparse.Namespace) -> list[EncodedProblem]:
    """All traces in tokens: no prompt is too long here."""
    dataset = DatasetSpec(source=str(arguments.folder / "train.jsonl"), max_prompt_tokens=1_000_000)
    encoded, _ = encode_all(
        traces,
        tokenizer,
        PromptSpec(template="Plain"),
        dataset,
        completion_length=arguments.canvas,
        long_traces="Count",
    )
    return encoded


def count_rows(path: Path) -> int:
    """Rows of a file that hold anything."""
    if not path.is_file():
        raise InvalidRunError(f"{path}: no such file; give a folder with train.jsonl and test.jsonl of GSM8K")
    return sum(bool(line.strip()) for line in path.read_bytes().splitlines())


def progress() -> Progress:
    """Bars on standard error, so that standard output is JSON."""
    columns = (TextColumn("{task.description:28}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True))


if __name__ == "__main__":
    sys.exit(main())
