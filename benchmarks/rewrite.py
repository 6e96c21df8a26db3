"""Rewriting at scale against a teacher that misbehaves: nothing lost, nothing twice, wrong answers all dropped.

A real HTTP server on this machine serves concise traces of the built-in task. Of all requests --faults fail: 429 with
Retry-After, 500, cut JSON, a closed connection, a slow answer, in equal parts. Of all problems --wrong get another
answer and --overlong one that does not fit. `igpo rewrite` runs as a process, is killed with SIGKILL when half is
done and every worker has a request in flight, and is started again. Prints one JSON object; exits 1 when a bar is
missed.

    python benchmarks/rewrite.py --rows 5000 --concurrency 64
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "teacher"))

from igpo_teacher.faults import Faults
from igpo_teacher.server import TeacherServer
from igpo_trainer.spec.yaml_document import write_document

TARGET = 24
PASSING = ("rate_limited", "failing", "cut_json", "dropped", "slow")
WRONG, LONG = "rewrite with a wrong answer", "rewrite longer than length.target"


def main() -> None:
    """Measure once."""
    options = parse()
    share = options.faults / len(PASSING)
    faults = Faults(**dict.fromkeys(PASSING, share), wrong=options.wrong, overlong=options.overlong)
    with tempfile.TemporaryDirectory() as folder, TeacherServer(faults=faults) as teacher:
        figures = measure(options, Path(folder), teacher)
    missed = [name for name, held in figures["bars"].items() if not held]
    sys.stdout.write(json.dumps(figures, indent=1) + "\n")
    sys.exit(bool(missed))


def measure(options: argparse.Namespace, folder: Path, teacher: TeacherServer) -> dict[str, Any]:
    """Rewrite with a kill in the middle; the figures."""
    manifest = folder / "run.yaml"
    manifest.write_text(write_document(document(options, teacher.base_url)))
    command = [sys.executable, "-m", "igpo_trainer.cli.main", "rewrite", "-f", str(manifest)]
    command += ["--runs", str(folder / "runs"), "--metrics-port", "0"]
    rewritten = folder / "runs" / "LengthAlignedSFT" / "rewrite" / "rewritten"
    teacher.hold_after(options.rows // 2)
    began = time.monotonic()
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    threading.Thread(target=tell_of_end, args=(killed, teacher), daemon=True).start()
    teacher.wait_for(
        lambda server: server.in_flight == options.concurrency or killed.poll() is not None, options.patience_seconds
    )
    if killed.poll() is not None:
        sys.exit(f"igpo rewrite ended with {killed.returncode} before it could be killed")
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    half = time.monotonic() - began
    on_file = whole_answers(rewritten)
    teacher.release()
    teacher.wait_for(lambda server: server.in_flight == 0)
    began = time.monotonic()
    subprocess.run(command, check=True, stdout=sys.stderr)
    seconds = half + time.monotonic() - began
    kept, dropped = lines(rewritten / "kept.jsonl"), lines(rewritten / "dropped.jsonl")
    requests = [row["request"] for row in kept + dropped]
    reasons = Counter(row["reason"] for row in dropped)
    paid_twice = teacher.answered.total() - options.rows
    expected = Counter(problem_fault for problem in teacher.asked if (problem_fault := lasting(teacher, problem)))
    record = json.loads((rewritten / "result.json").read_text())["record"]
    return {
        "rows": options.rows,
        "concurrency": options.concurrency,
        "seconds": round(seconds, 1),
        "rows_per_second": round(options.rows / seconds, 1),
        "requests": teacher.asked.total(),
        "requests_by_fault": dict(sorted(teacher.given.items())),
        "most_in_flight": teacher.most_in_flight,
        "on_file_when_killed": on_file,
        "answers_paid_twice": paid_twice,
        "kept": len(kept),
        "dropped": dict(sorted(reasons.items())),
        "teacher_tokens": record["prompt_tokens"] + record["completion_tokens"],
        "cores": len(os.sched_getaffinity(0)),
        "bars": {
            "none lost": len(requests) == options.rows,
            "none twice": len(set(requests)) == len(requests),
            "wrong answers all dropped": reasons[WRONG] == expected["wrong"],
            "too long all dropped": reasons[LONG] == expected["overlong"],
            "every other kept": len(kept) == options.rows - expected.total(),
            "concurrency kept to": teacher.most_in_flight <= options.concurrency,
            "a kill costs the requests in flight at most": 0 <= paid_twice <= options.concurrency,
        },
    }


def tell_of_end(process: "subprocess.Popen[bytes]", teacher: TeacherServer) -> None:
    """Wake whoever waits for the teacher when a process ends."""
    process.wait()
    with teacher.news:
        teacher.news.notify_all()


def lasting(teacher: TeacherServer, problem: str) -> str | None:
    """What the teacher does wrong with a problem however often it is asked."""
    fault = teacher.faults.of(problem, 0)
    return fault if fault in ("wrong", "overlong") else None


def lines(path: Path) -> list[dict[str, Any]]:
    """Objects of a JSONL file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def whole_answers(rewritten: Path) -> int:
    """Answers on file that can be read."""
    text = (rewritten / "answers.jsonl").read_text()
    return sum(json.loads(line)["text"] is not None for line in text[: text.rfind("\n") + 1].splitlines())


def document(options: argparse.Namespace, base_url: str) -> dict[str, Any]:
    """The manifest: verbose traces, most of them longer than the canvas."""
    return {
        "apiVersion": "igpo.dev/v1alpha1",
        "kind": "LengthAlignedSFT",
        "metadata": {"name": "rewrite"},
        "spec": {
            "model": {"scratch": {"maxPositions": 64}},
            "dataset": {
                "source": "builtin:word-problems",
                "holdout": {"rows": 8},
                "maxPromptTokens": 40,
                "wordProblems": {"rows": options.rows, "style": "Verbose"},
            },
            "rewrite": {"teacher": {"baseUrl": base_url, "model": "short"}, "concurrency": options.concurrency},
            "length": {"target": TARGET},
            "training": {"steps": 1},
            "sampling": {"completionLength": TARGET, "steps": 12, "blockLength": 8},
        },
    }


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=5000, help="traces to rewrite [%(default)s]")
    parser.add_argument("--concurrency", type=int, default=64, help="requests in flight [%(default)s]")
    parser.add_argument("--faults", type=float, default=0.05, help="share of requests that fail [%(default)s]")
    parser.add_argument("--wrong", type=float, default=0.02, help="share of wrong rewrites [%(default)s]")
    parser.add_argument("--overlong", type=float, default=0.02, help="share of too long rewrites [%(default)s]")
    parser.add_argument("--patience-seconds", type=float, default=1800.0, help="for the first half [%(default)s]")
    return parser.parse_args()


if __name__ == "__main__":
    main()
