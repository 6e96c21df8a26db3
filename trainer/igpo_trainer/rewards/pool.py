"""Verifier processes with a deadline for each evaluation, enforced from outside."""

import selectors
import time
from collections import Counter, deque
from collections.abc import Sequence

from igpo_trainer.rewards.process import Evaluation, Result, WorkerProcess
from igpo_trainer.spec.errors import RunError

DEADLINE = "deadline"
CRASH = "crash"
_STARTUP_SECONDS = 120.0
_LARGEST_CHUNK = 32


class WorkerPool:
    """At most `processes` workers, started when there is work for them and kept until `close`.

    Work goes out in chunks, results come back one by one and in order, so the evaluation a worker is at is always the
    first unanswered one: it alone is charged when the worker is killed or dies, the rest of the chunk goes to another
    worker.
    """

    def __init__(self, processes: int, deadline_seconds: float, rewards: Sequence[str] = ()) -> None:
        self._limit = processes
        self._deadline = deadline_seconds
        self._rewards = tuple(rewards)
        self._workers: list[WorkerProcess] = []
        self.restarts = 0

    @property
    def pids(self) -> list[int]:
        """Process ids of the running workers."""
        return [worker.pid for worker in self._workers]

    def check_rewards(self) -> None:
        """Start one worker and wait until it has loaded every reward. Raises InvalidRunError if one is unknown."""
        if not self._workers:
            self._start()
        while not self._workers[0].ready:
            self._turn(deque(), {})

    def run(self, evaluations: Sequence[Evaluation]) -> dict[int, Result]:
        """Return the result of every evaluation, by its index.

        Raises RunError if workers cannot be started. When interrupted, no worker is left busy.
        """
        waiting = deque(evaluations)
        results: dict[int, Result] = {}
        chunk = max(1, min(_LARGEST_CHUNK, len(waiting) // (4 * self._limit)))
        try:
            while waiting or any(worker.unanswered for worker in self._workers):
                self._feed(waiting, chunk)
                self._turn(waiting, results)
        except BaseException:
            self.close()
            raise
        return results

    def close(self) -> None:
        """End all workers. The pool may be used again afterwards."""
        while self._workers:
            self._workers.pop().kill()

    def _start(self) -> None:
        try:
            self._workers.append(WorkerProcess(self._rewards, self._deadline))
        except OSError as error:
            raise RunError(
                f"no verifier process could be started ({error}); {len(self._workers)} of {self._limit} run; "
                "lower judge.processes or raise the process limit"
            ) from error

    def _discard(self, worker: WorkerProcess) -> None:
        self._workers.remove(worker)
        worker.kill()
        self.restarts += 1

    def _feed(self, waiting: deque[Evaluation], chunk: int) -> None:
        """Give work to idle workers, replacing those that died idle, and start as many as the work deserves."""
        for dead in [w for w in self._workers if w.ready and not w.unanswered and not w.alive()]:
            self._discard(dead)
        wanted = min(self._limit, -(-len(waiting) // chunk))
        idle = [worker for worker in self._workers if not worker.unanswered]
        for _ in range(min(wanted - len(idle), self._limit - len(self._workers))):
            self._start()
        for worker in idle:
            if worker.ready and waiting:
                worker.assign([waiting.popleft() for _ in range(min(chunk, len(waiting)))])

    def _turn(self, waiting: deque[Evaluation], results: dict[int, Result]) -> None:
        """Wait for news of any worker until the next deadline, take it, and kill whoever is late."""
        with selectors.DefaultSelector() as selector:
            for worker in self._workers:
                selector.register(worker.outbox, selectors.EVENT_READ, worker)
                if worker.unsent:
                    selector.register(worker.inbox, selectors.EVENT_WRITE, worker)
            ends = [self._end_of(worker) for worker in self._workers]
            events = selector.select(max(0.0, min(ends) - time.monotonic()) if ends else None)
        heard = set()
        for key, mask in events:
            ready: WorkerProcess = key.data
            if ready not in self._workers:
                continue  # discarded a moment ago
            if mask & selectors.EVENT_WRITE:
                ready.flush()
            if mask & selectors.EVENT_READ:
                heard.add(ready.pid)
                self._take(ready, waiting, results)
        now = time.monotonic()
        for late in [w for w in self._workers if w.pid not in heard and now >= self._end_of(w)]:
            self._charge(late, DEADLINE if late.alive() else CRASH, waiting, results)

    def _end_of(self, worker: WorkerProcess) -> float:
        if not worker.ready:
            return worker.since + _STARTUP_SECONDS
        return worker.since + self._deadline if worker.unanswered else float("inf")

    def _take(self, worker: WorkerProcess, waiting: deque[Evaluation], results: dict[int, Result]) -> None:
        arrived, ended = worker.receive()
        for evaluation, result in arrived:
            results[evaluation.index] = result
        if ended:
            self._charge(worker, CRASH, waiting, results)

    def _charge(
        self, worker: WorkerProcess, reason: str, waiting: deque[Evaluation], results: dict[int, Result]
    ) -> None:
        """Discard a worker; the evaluation it was at gets `reason`, those after it wait again."""
        self._discard(worker)
        if not worker.ready:
            raise RunError(
                f"a verifier process did not start ({reason} after {_STARTUP_SECONDS:g} s at most); "
                "its output above says why; check memory and the rewards' imports, then start the run again"
            )
        if worker.unanswered:
            results[worker.unanswered.popleft().index] = reason
            waiting.extendleft(reversed(worker.unanswered))


def count_results(results: dict[int, Result]) -> Counter[str]:
    """How many evaluations failed, by `deadline`, `crash` and `error`."""
    return Counter(result.partition(":")[0] for result in results.values() if isinstance(result, str))
