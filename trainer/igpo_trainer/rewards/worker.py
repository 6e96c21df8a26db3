"""A verifier process: reads evaluations from its standard input, writes one result for each.

Protocol, one JSON value a line. First line in: `{"path": [...], "rewards": [...], "deadline": seconds}`; answered by
`{"ready": true}` or `{"error": "..."}`. Then every line in is a list of evaluations `[reward, prompt, completion,
answer]` and every line out is the result of the next one: a number, or a string with the reason why there is none.
Started by `process.WorkerProcess`; imports what a verdict needs and never torch.
"""

import json
import logging
import os
import select
import signal
import sys
from collections.abc import Iterator
from typing import BinaryIO

from igpo_trainer.rewards.correctness import correctness, equal
from igpo_trainer.rewards.registry import CORRECTNESS, RewardFunction, call_reward, load_reward
from igpo_trainer.spec.errors import InvalidRunError

_log = logging.getLogger("igpo_trainer.rewards.worker")
_ORPHAN_CHECK_SECONDS = 5.0
_LOGGED_ERRORS = 3


def _private_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Take over standard input and output for the protocol; a reward that prints writes to standard error."""
    source, sink = os.fdopen(os.dup(0), "rb", buffering=0), os.fdopen(os.dup(1), "wb", buffering=0)
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123 - a device, opened for its descriptor
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    return source, sink


def _lines(source: BinaryIO) -> Iterator[bytes]:
    """Lines of the parent, until it closes the pipe or is gone (a fork of it may hold the pipe open)."""
    parent = os.getppid()
    pending = b""
    while os.getppid() == parent:
        if not select.select([source], [], [], _ORPHAN_CHECK_SECONDS)[0]:
            continue
        data = os.read(source.fileno(), 1 << 20)
        if not data:
            return
        *lines, pending = (pending + data).split(b"\n")
        yield from lines


def _evaluate(function: RewardFunction, prompt: str, completion: str, answer: str) -> float | str:
    try:
        return call_reward(function, prompt, completion, answer)
    except Exception as error:
        _log_first(error)
        return f"error: {type(error).__name__}"


_logged: set[str] = set()


def _log_first(error: Exception) -> None:
    """Log the first errors of each kind: enough to find the cause, not a line for every rollout."""
    text = f"{type(error).__name__}: {error}"[:300]
    if text not in _logged and len(_logged) < _LOGGED_ERRORS:
        _logged.add(text)
        _log.warning("a reward function failed, its completion is unjudged: %s", text)


def serve(source: BinaryIO, sink: BinaryIO) -> None:
    """Answer the parent until it closes the pipe."""
    lines = _lines(source)
    setup = json.loads(next(lines))
    sys.path[:] = [*setup["path"], *(entry for entry in sys.path if entry not in setup["path"])]
    try:
        functions = {name: load_reward(name) for name in setup["rewards"]} | {CORRECTNESS: correctness}
    except InvalidRunError as error:
        sink.write(json.dumps({"error": str(error)}).encode() + b"\n")
        return
    equal(r"\frac{1}{2}", "0.5")  # the first comparison builds the parser: that is no one's deadline
    sink.write(b'{"ready": true}\n')
    # The parent kills a worker that misses its deadline. If the parent itself was killed, this timer does: its default
    # action ends the process in the kernel, also inside one endless C call.
    self_destruct_seconds = 2.0 * setup["deadline"] + 3.0
    for line in lines:
        for reward, prompt, completion, answer in json.loads(line):
            signal.setitimer(signal.ITIMER_REAL, self_destruct_seconds)
            result = _evaluate(functions[reward], prompt, completion, answer)
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            sink.write(json.dumps(result).encode() + b"\n")


def main() -> None:
    """Entry point of the worker process."""
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    # math-verify warns once per process that its time-outs are off; ours are the parent's.
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    try:
        serve(*_private_pipes())
    except BrokenPipeError:
        os._exit(0)  # the parent is gone, nobody is left to tell


if __name__ == "__main__":
    main()
