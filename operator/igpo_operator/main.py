"""The operator's process: wiring, ordered start and stop.

Start: probes and metrics, client, CRDs there?, queue workers, Lease, then kopf. Stop: no new work, reconciles in flight
end, Lease released, kopf last. A watcher that dies ends the process with 1: starting anew is cheap and always right.
"""

import asyncio
import contextlib
import logging
import signal
import sys
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import kopf

from igpo_operator.apply import logs
from igpo_operator.apply.cache import Cache
from igpo_operator.apply.clock import Clock, SystemClock
from igpo_operator.apply.config import InvalidConfigError, OperatorConfig, describe_variables, operator_version
from igpo_operator.apply.errors import ApiError, NoClusterError
from igpo_operator.apply.events import EventPoster
from igpo_operator.apply.execute import Executor
from igpo_operator.apply.health import Health
from igpo_operator.apply.kube import Kube
from igpo_operator.apply.lease import LeaseKeeper
from igpo_operator.apply.metrics import OperatorMetrics, RunCollector
from igpo_operator.apply.nodes import NodeReader
from igpo_operator.apply.queue import WorkQueue
from igpo_operator.apply.reconcile import Hands, Reconciler
from igpo_operator.apply.resync import Resync
from igpo_operator.apply.schema_check import RETRY, SchemaCheck, missing_kinds
from igpo_operator.apply.scrape import Pace, Scraper
from igpo_operator.apply.server import serve
from igpo_operator.apply.view import RunKey
from igpo_operator.handlers import login, pods, runs
from igpo_operator.handlers.settings import settings_of
from igpo_operator.plan.orphans import plan_orphan
from igpo_operator.plan.plan import plan

logger = logging.getLogger(__name__)

_BEAT_SECONDS: Final = 1.0


class Operator:
    """One operator, from its start to its end."""

    def __init__(self, config: OperatorConfig, kube: Kube, metrics: OperatorMetrics, clock: Clock) -> None:
        """Wire everything; nothing runs yet."""
        self._config = config
        self._kube = kube
        self._metrics = metrics
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._last_beat = self._loop.time()
        self._halt = asyncio.Event()
        self.cache = Cache(clock)
        self._resync = Resync(kube, self.cache, clock)
        self._queue: WorkQueue[RunKey] = WorkQueue(self._reconcile, clock=clock, workers=config.workers, name="runs")
        pace = Pace(
            interval_seconds=config.scrape_seconds,
            timeout_seconds=config.scrape_timeout_seconds,
            concurrency=config.scrape_concurrency,
            progress_seconds=config.progress_interval_seconds,
        )
        self._scraper = Scraper(self.cache, clock, pace, self._queue.add, count=metrics.observe_scrape)
        self._schemas = SchemaCheck(kube, lambda: self._begin(None))
        self._lease = LeaseKeeper(
            kube,
            clock,
            identity=config.identity,
            namespaces=config.lease_namespaces,
            clusterwide=not config.namespaces,
            duration_seconds=config.lease_seconds,
            prepare=self._prepare,
            begin=self._begin,
        )
        self._reconciler = Reconciler(
            Hands(
                kube=kube,
                cache=self.cache,
                clock=clock,
                executor=Executor(kube, self.cache, self._lease.may_work),
                events=EventPoster(kube, clock, config.identity),
                nodes=NodeReader(kube, clock, allowed=config.may_read_nodes),
            ),
            plan=plan,
            plan_orphan=plan_orphan,
            facts=config.facts(clock.now()),
            scrapes=self._scraper,
            schemas=self._schemas,
            may_work=self._lease.may_work,
        )
        self.health = Health(
            clock, self.cache, self._queue, self._resync, self._beat_age, config.stale_seconds, config.resync_seconds
        )
        self._register_metrics()

    async def run(self) -> int:
        """Work until a signal (0) or until a watcher dies (1)."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._halt.set)
        beat = asyncio.create_task(self._beat(), name="beat")
        try:
            if not await self._wait_for_kinds():
                return 0
            await self._schemas.look()
            return await self._work()
        finally:
            beat.cancel()
            await asyncio.gather(beat, return_exceptions=True)

    async def _work(self) -> int:
        self._queue.start()
        self._scraper.start()
        lease = asyncio.create_task(self._lease.run(), name="lease")
        resync = asyncio.create_task(self._run_resync(), name="resync")
        schemas = asyncio.create_task(self._run_schema_check(), name="schemas")
        watching = await self._watch()
        halted = asyncio.create_task(self._halt.wait(), name="halted")
        await asyncio.wait({watching.task, lease, resync, schemas, halted}, return_when=asyncio.FIRST_COMPLETED)
        asked = self._halt.is_set()
        logger.info("stopping: %s", "asked to" if asked else "a task has ended that never should")
        self._halt.set()
        await self._scraper.stop()
        finished = await self._queue.stop(self._config.grace_seconds)
        if not finished:
            logger.warning("a reconcile took longer than %.0f s and was cut off", self._config.grace_seconds)
        await self._lease.stop()
        watching.stop.set()
        results = await asyncio.gather(watching.task, lease, resync, schemas, halted, return_exceptions=True)
        for failure in [result for result in results if isinstance(result, BaseException)]:
            logger.error("the end was: %r", failure, exc_info=failure)
        return 0 if asked else 1

    async def _watch(self) -> "_Watching":
        """Start kopf; signals stay ours, since kopf is to stop last."""
        registry = kopf.OperatorRegistry()
        login.register(registry, self._kube)
        runs.register(registry, self.cache, self._wake)
        pods.register(registry, self.cache, self._wake)
        namespaces, stop, before = self._config.namespaces, asyncio.Event(), asyncio.all_tasks()
        tasks = await kopf.spawn_tasks(
            registry=registry,
            settings=settings_of(),
            standalone=True,
            clusterwide=not namespaces,
            namespaces=namespaces,
            stop_flag=stop,
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._halt.set)
        task = asyncio.create_task(kopf.run_tasks(tasks, ignored=before), name="kopf")
        return _Watching(task, stop)

    async def _wait_for_kinds(self) -> bool:
        """Wait until both kinds are served and may be read; False if asked to stop before."""
        told: list[str] = []
        scope = self._config.namespaces[0] if self._config.namespaces else None
        while problems := await missing_kinds(self._kube, scope):
            if problems != told:
                logger.error("waiting: %s", "; ".join(problems))
                told = problems
            if await self._clock.wait(self._halt, self._clock.now() + RETRY):
                return False
            self._resync.finished_at = self._clock.now()
        return True

    async def _reconcile(self, key: RunKey) -> datetime | None:
        with logs.about(key):
            started, result = self._loop.time(), "error"
            try:
                when = await self._reconciler.reconcile(key)
                result = "ok"
            finally:
                self._metrics.observe_reconcile(key[0], result, self._loop.time() - started)
            return when

    def _wake(self, key: RunKey) -> None:
        self._queue.add(key)
        self._scraper.notice(key)

    async def _prepare(self, namespace: str | None) -> None:
        await self._resync.run([namespace])

    def _begin(self, namespace: str | None) -> None:
        for key in self.cache.keys(namespace):
            self._wake(key)

    async def _run_resync(self) -> None:
        period = timedelta(seconds=self._config.resync_seconds)
        while not await self._clock.wait(self._halt, self._clock.now() + period):
            try:
                for key in await self._resync.run(self._config.namespaces or [None]):
                    self._wake(key)
            except ApiError as problem:
                logger.warning("full listing failed: %s", problem)

    async def _run_schema_check(self) -> None:
        often, seldom = RETRY, timedelta(seconds=self._config.resync_seconds)
        while not await self._clock.wait(self._halt, self._clock.now() + (seldom if self._schemas.complete else often)):
            await self._schemas.look()

    async def _beat(self) -> None:
        while True:
            due = self._loop.time() + _BEAT_SECONDS
            await asyncio.sleep(_BEAT_SECONDS)
            self._last_beat = self._loop.time()
            self._metrics.loop_lag.set(max(0.0, self._last_beat - due))

    def _beat_age(self) -> float:
        return self._loop.time() - self._last_beat

    def _register_metrics(self) -> None:
        gauge, queue = self._metrics.gauge, self._queue
        gauge("igpo_operator_queue_depth", "Runs that wait for a worker.", lambda: queue.depth)
        gauge("igpo_operator_queue_oldest_seconds", "How long the longest has waited.", queue.oldest_seconds)
        gauge("igpo_operator_leases_held", "Leases that this process holds.", lambda: self._lease.held)
        gauge(
            "igpo_operator_watch_missed_seconds",
            "How long the watches have failed to deliver a known change.",
            self.cache.oldest_unconfirmed_seconds,
        )
        self._metrics.registry.register(RunCollector(self.cache, self._scraper.last))


@dataclass(frozen=True, slots=True)
class _Watching:
    """kopf at work, and what stops it."""

    task: "asyncio.Task[None]"
    stop: asyncio.Event


async def operate(config: OperatorConfig) -> int:
    """Run the operator; the process's exit status."""
    metrics, clock = OperatorMetrics(), SystemClock()
    kube = await Kube.connect(observe=metrics.observe_request)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(kube.close)
        operator = Operator(config, kube, metrics, clock)
        server = serve(metrics.registry, operator.health.problems, address=config.address, port=config.port)
        stack.callback(server.close)
        scope = ", ".join(config.namespaces) or "all namespaces"
        logger.info("igpo operator %s works in %s; probes on port %d", operator_version(), scope, server.port)
        return await operator.run()


def main(arguments: list[str]) -> int:
    """Read the environment and run; --help lists the variables."""
    if {"-h", "--help"} & set(arguments):
        sys.stdout.write(
            f"python -m igpo_operator: run the operator. Everything is set by variables:\n\n{describe_variables()}\n"
        )
        return 0
    if arguments:
        sys.stderr.write(f"igpo-operator: {arguments[0]} is no argument; see --help\n")
        return 64
    try:
        config = OperatorConfig.from_environment()
    except InvalidConfigError as problem:
        sys.stderr.write(f"igpo-operator: {problem}\n")
        return 64
    logs.set_up(config.log_level, config.log_format)
    try:
        return asyncio.run(operate(config))
    except NoClusterError as problem:
        sys.stderr.write(f"igpo-operator: {problem}\n")
        return 64
