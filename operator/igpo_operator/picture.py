"""A run drawn for a terminal: why is it (not) training? Pure functions from objects to rich renderables."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from igpo_operator.api.reasons import Phase
from igpo_operator.api.status import RewritingStatus
from igpo_operator.apply.view import moment, pod_of
from igpo_operator.plan.observed import Pod, Run, Running, Terminated, Waiting

_COLOURS: Final = {
    Phase.COMPLETE: "green",
    Phase.RUNNING: "green",
    Phase.REWRITING: "green",
    Phase.FAILED: "red",
    Phase.RESTARTING: "yellow",
    Phase.SUSPENDED: "blue",
}
_EVENTS_SHOWN: Final = 10


def picture_of(
    run: Run, pods: Sequence[Mapping[str, Any]], events: Iterable[Mapping[str, Any]], now: datetime
) -> RenderableType:
    """Phase and message first, then conditions, attempts, pods, the failing log, events and the next action."""
    parts: list[RenderableType] = [_headline(run)]
    if run.status.rewriting is not None:
        parts.append(_rewriting(run.status.rewriting))
    if run.status.progress is not None and run.status.phase is not Phase.REWRITING:
        parts.append(_progress(run))
    parts.append(_conditions(run, now))
    if run.status.attempts:
        parts.append(_attempts(run))
    seen = sorted((pod_of(body) for body in pods), key=lambda pod: (pod.attempt, pod.rank))
    if seen:
        parts.append(_pods(seen))
    lines = last_lines(run, seen)
    if lines:
        parts.append(Panel(Text("\n".join(lines)), title="last lines of the failing log", title_align="left"))
    shown = _events(events, now)
    if shown is not None:
        parts.append(shown)
    parts.append(Text.assemble(("next: ", "bold"), next_action(run, seen)))
    return Group(*parts)


def table_of(runs: Sequence[Run], now: datetime) -> Table:
    """All runs, one line each."""
    table = Table(box=None, pad_edge=False, expand=True)
    for column in ("namespace", "kind", "name", "phase", "step", "%", "reward", "restarts", "age"):
        # Only names are folded on a narrow terminal: numbers and phases mean nothing when cut.
        table.add_column(column, no_wrap=column != "name", overflow="fold")
    table.add_column("message", no_wrap=True, ratio=1)  # gets what the others leave
    for run in sorted(runs, key=lambda one: (one.namespace, one.name, one.kind.kind)):
        progress = run.status.progress
        table.add_row(
            run.namespace,
            run.kind.short,
            run.name,
            _phase(run),
            f"{progress.step}/{progress.planned_steps or '?'}" if progress else "",
            f"{progress.percentage}" if progress and progress.percentage is not None else "",
            run.status.metrics.get("reward", ""),
            str(run.status.restarts.total),
            age(run.created_at, now),
            run.status.message or "",
        )
    return table


def next_action(run: Run, pods: Sequence[Pod]) -> str:
    """What a person can do now."""
    where = f"-n {run.namespace}"
    match run.status.phase:
        case Phase.COMPLETE:
            claim = run.status.resolved.claim_name if run.status.resolved else None
            return f"nothing; the model is on volume claim {claim or '(see status.resolved)'}"
        case Phase.SUSPENDED | Phase.SUSPENDING:
            patch = '{"spec":{"suspend":false}}'
            return f"kubectl {where} patch {run.kind.plural} {run.name} --type=merge -p '{patch}' resumes it"
        case Phase.FAILED:
            return (
                "read the message above; correct the manifest and apply it under another name, or with another volume"
            )
        case _:
            rank = next((pod for pod in pods if isinstance(pod.trainer, Running)), None)
            if rank is not None:
                return f"kubectl {where} logs -f {rank.name} -c trainer"
            if any(condition.type == "Stalled" for condition in run.status.conditions):
                return "do what the message says; the run goes on by itself afterwards"
            return "wait; what it waits for is in the message"


def last_lines(run: Run, pods: Sequence[Pod]) -> list[str]:
    """The end of the log of what failed last: of the attempt that is ending, of a pod, or of the last attempt."""
    attempt = run.status.attempt
    if attempt is not None and attempt.ending is not None and attempt.ending.last_lines:
        return attempt.ending.last_lines
    for pod in pods:
        if isinstance(pod.trainer, Terminated) and pod.trainer.exit_code != 0:
            message = pod.trainer.message
            lines = message.last_lines if message is not None else pod.trainer.raw_message.splitlines()
            if lines:
                return lines[-20:]
    return run.status.attempts[-1].last_lines if run.status.attempts else []


def age(since: datetime, now: datetime) -> str:
    """As kubectl writes it: 42s, 7m, 3h, 5d."""
    seconds = int((now - since).total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{max(0, seconds)}s"


def _phase(run: Run) -> Text:
    return Text(str(run.status.phase), style=f"bold {_COLOURS.get(run.status.phase, 'yellow')}")


def _headline(run: Run) -> Panel:
    text = Text.assemble(_phase(run), f"  {run.status.message or 'not looked at by the operator yet'}")
    return Panel(text, title=f"{run.kind.kind} {run.namespace}/{run.name}", title_align="left")


def _progress(run: Run) -> RenderableType:
    progress = run.status.progress
    assert progress is not None
    grid = Table.grid(padding=(0, 1))
    left = "" if progress.eta_seconds is None else f"about {progress.eta_seconds} s left"
    bar = ProgressBar(total=100, completed=progress.percentage or 0, width=40)
    grid.add_row(f"step {progress.step} of {progress.planned_steps or '?'}", bar, f"{progress.percentage or 0} %", left)
    values = "  ".join(f"{name} {value}" for name, value in sorted(run.status.metrics.items())[:8])
    return Group(grid, Text(values, style="dim")) if values else grid


def _rewriting(stage: RewritingStatus) -> RenderableType:
    """Traces and tokens of the stage before training."""
    grid = Table.grid(padding=(0, 1))
    share = 100 * stage.done // stage.rows if stage.rows else 0
    left = f"about {stage.eta_seconds} s left" if stage.eta_seconds and stage.finished_at is None else ""
    bar = ProgressBar(total=100, completed=share, width=40)
    grid.add_row(f"{stage.done} of {stage.rows or '?'} traces rewritten", bar, f"{share} %", left)
    spent = f"{stage.tokens}" + (f" of {stage.token_budget}" if stage.token_budget is not None else "")
    text = f"kept {stage.kept}  dropped {stage.dropped}  teacher tokens {spent}"
    return Group(grid, Text(text, style="dim"))


def _conditions(run: Run, now: datetime) -> Table:
    table = _table("condition", "status", "reason", "since", "message")
    for one in run.status.conditions:
        table.add_row(one.type, one.status, one.reason, age(one.last_transition_time, now), one.message)
    return table


def _attempts(run: Run) -> Table:
    table = _table("attempt", "stage", "ended as", "rank", "exit", "step", "ran", "message")
    for one in run.status.attempts:
        numbers = [str(value) if value is not None else "" for value in (one.rank, one.exit_code, one.step)]
        table.add_row(
            str(one.number), str(one.stage), str(one.reason_class), *numbers, f"{one.running_seconds}s", one.message
        )
    return table


def _pods(pods: Sequence[Pod]) -> Table:
    table = _table("pod", "phase", "node", "trainer", "why")
    for pod in pods:
        table.add_row(pod.name, "Terminating" if pod.gone_by else pod.phase, pod.node or "", *_trainer(pod))
    return table


def _trainer(pod: Pod) -> tuple[str, str]:
    match pod.trainer:
        case Running():
            return "running", ""
        case Terminated(exit_code=code, reason=reason, message=message):
            return f"exit {code}", message.reason if message is not None else reason
        case Waiting(reason=reason, message=message):
            return reason or "waiting", message
        case None:
            held = f"held by {', '.join(pod.gates)}" if pod.gates else ""
            return "", pod.unschedulable or held or pod.message


def _events(events: Iterable[Mapping[str, Any]], now: datetime) -> Table | None:
    known = sorted(events, key=lambda event: str(event.get("eventTime") or event["metadata"]["creationTimestamp"]))
    if not known:
        return None
    table = _table("event", "age", "message")
    for event in known[-_EVENTS_SHOWN:]:
        at = moment(event.get("eventTime") or event["metadata"]["creationTimestamp"])
        table.add_row(event.get("reason", ""), age(at, now), event.get("note", ""))
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
