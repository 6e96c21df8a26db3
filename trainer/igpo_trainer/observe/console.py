"""Live progress in a terminal, one line a step elsewhere, nothing when quiet. Global rank 0 only."""

import sys
import threading
from enum import StrEnum
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from igpo_trainer.observe.figures import duration, number, percent, sparkline
from igpo_trainer.observe.lengths import mean_length
from igpo_trainer.observe.lines import line
from igpo_trainer.observe.records import JournalRecord, Measure, SftStepRecord, State, StepRecord
from igpo_trainer.observe.summary import all_wrong_curve, selection_curve

_SPARK = 20
_SFT_LINE_SECONDS = 5.0


class Mode(StrEnum):
    """How progress is shown."""

    LIVE = "live"
    LINES = "lines"
    QUIET = "quiet"

    @classmethod
    def detect(cls, *, quiet: bool = False) -> "Mode":
        """LIVE when stdout is a terminal, LINES when it is a pipe or a pod's log."""
        if quiet:
            return cls.QUIET
        return cls.LIVE if sys.stdout.isatty() else cls.LINES


class Progress:
    """Shows the records of one run as they come. A context manager; every method may be called from any thread."""

    def __init__(self, title: str, planned_steps: int, mode: Mode, console: Console | None = None) -> None:
        """`title` names the run, for example `IGPOTraining/gsm8k`."""
        self.title = title
        self.planned_steps = planned_steps
        self.mode = mode
        self._console = console or Console(soft_wrap=mode is Mode.LINES, highlight=False)
        self._lock = threading.Lock()
        self._records: list[JournalRecord] = []
        self._state = State.STARTING
        self._shown_at = float("-inf")
        self._work_seconds = 0.0
        self._steps = 0
        self._done = 0
        self._live = Live(
            console=self._console, get_renderable=self.render, refresh_per_second=4, redirect_stdout=False
        )

    def __enter__(self) -> Self:
        if self.mode is Mode.LIVE:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.mode is Mode.LIVE:
            self._live.stop()

    def resumed(self, records: list[JournalRecord]) -> None:
        """Take over the journal of a continued run without printing it again."""
        with self._lock:
            for record in records:
                self._take(record)

    def state(self, state: State) -> None:
        """Say what the trainer is doing now."""
        with self._lock:
            self._state = state

    def publish(self, record: JournalRecord) -> None:
        """Show one record."""
        with self._lock:
            self._take(record)
            eta = self._eta()
        if self.mode is Mode.LINES and self._is_due(record):
            self.message(line(record, self.planned_steps, eta))

    def message(self, text: str) -> None:
        """Print one line above the live panel, or as a log line."""
        if self.mode is not Mode.QUIET:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _take(self, record: JournalRecord) -> None:
        self._records.append(record)
        if record.step > 0:  # set-up and the first evaluation are no part of a step's price
            self._work_seconds += record.time.seconds
        if isinstance(record, StepRecord | SftStepRecord):
            self._steps += 1
            self._done = record.step

    def _eta(self) -> float | None:
        """Multiply the steps left by a step's mean time, evaluations and checkpoints included."""
        left = max(0, self.planned_steps - self._done)
        return left * self._work_seconds / self._steps if self._steps else None

    def _is_due(self, record: JournalRecord) -> bool:
        """SFT updates are many and short: one line in five seconds, and the last."""
        if not isinstance(record, SftStepRecord) or record.step == self.planned_steps:
            return True
        if record.time.at - self._shown_at < _SFT_LINE_SECONDS:
            return False
        self._shown_at = record.time.at
        return True

    def render(self) -> RenderableType:
        """Draw the panel from what was published so far."""
        with self._lock:
            records, state, done, eta = list(self._records), self._state, self._done, self._eta()
        bar = Table.grid(padding=(0, 1), expand=True)
        bar.add_column(ratio=1)
        bar.add_column(justify="right", no_wrap=True)
        share = done / self.planned_steps if self.planned_steps else None
        left = "" if eta is None or done >= self.planned_steps else f" · {duration(eta)} left"
        bar.add_row(
            ProgressBar(total=max(1, self.planned_steps), completed=done, complete_style="green"),
            f"{done}/{self.planned_steps} steps · {percent(share)}{left}",
        )
        rows = Table.grid(padding=(0, 2))
        rows.add_column(style="dim", no_wrap=True)
        rows.add_column(no_wrap=True)
        rows.add_column(style="cyan", no_wrap=True)
        for label, value, curve in _rows(records):
            rows.add_row(label, value, sparkline(curve, _SPARK))
        title = Text.assemble((self.title, "bold"), " · ", (state.value, "yellow"))
        return Panel(Group(bar, "", rows), title=title, title_align="left", padding=(0, 1))


def _rows(records: list[JournalRecord]) -> list[tuple[str, RenderableType, list[Measure]]]:
    rl = [r for r in records if isinstance(r, StepRecord)]
    sft = [r for r in records if isinstance(r, SftStepRecord)]
    rows = _sft_rows(sft) if sft else _rl_rows(rl)
    curve = selection_curve(records)
    if curve:
        first, last = curve[0], curve[-1]
        text = Text(percent(last.accuracy, 1), style="bold green")
        text.append(f" at step {last.step}, from {percent(first.accuracy, 1)}", style="default not bold")
        rows.append(("held-out accuracy", text, [r.accuracy for r in curve]))
    wrong = all_wrong_curve(records)
    if wrong:
        text = Text(
            f"{percent(wrong[-1].all_wrong, 1)} at step {wrong[-1].step}, from {percent(wrong[0].all_wrong, 1)}"
        )
        rows.append(("held-out all wrong", text, [r.all_wrong for r in wrong]))
    return rows


def _rl_rows(steps: list[StepRecord]) -> list[tuple[str, RenderableType, list[Measure]]]:
    if not steps:
        return []
    last = steps[-1]
    before = [r.groups_initial.all_wrong_ratio for r in steps]
    after = [r.groups_final.all_wrong_ratio for r in steps]
    wrong = Text.assemble(
        (percent(before[-1]), "bold"), " → ", (percent(after[-1]), "bold"), f" after rescue ({last.replaced} replaced)"
    )
    entropy = Text.assemble(
        "hint ", (number(last.entropy.hint), "bold"), " · generated ", (number(last.entropy.generated), "bold"), " nats"
    )
    rescued, tried = sum(r.rescue.rescued for r in steps), sum(r.rescue.attempted for r in steps)
    return [
        (
            "reward",
            Text(number(last.reward_mean.get("total")), style="bold"),
            [r.reward_mean.get("total") for r in steps],
        ),
        ("all-wrong groups", wrong, before),
        ("entropy", entropy, [r.entropy.generated for r in steps]),
        ("rescued so far", Text(f"{rescued} of {tried} groups"), []),
    ]


def _sft_rows(steps: list[SftStepRecord]) -> list[tuple[str, RenderableType, list[Measure]]]:
    last = steps[-1]
    length = f"{number(mean_length(last.example_lengths), 1)} of {last.target_length} tokens"
    return [
        ("loss", Text(number(last.loss, 4), style="bold"), [r.loss for r in steps]),
        ("gradient norm", Text(number(last.grad_norm)), [r.grad_norm for r in steps]),
        ("learning rate", Text(number(last.learning_rate, 6)), [r.learning_rate for r in steps]),
        ("mean trace length", Text(length), []),
    ]
