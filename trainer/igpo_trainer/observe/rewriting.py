"""How far the rewriting of traces is, for people: a bar in a terminal, a line now and then elsewhere."""

from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from igpo_trainer.observe.console import Mode
from igpo_trainer.observe.figures import duration, number, percent
from igpo_trainer.spec.contract import RewriteStatus

LINE_SECONDS: Final = 5.0


def rewriting_line(status: RewriteStatus) -> str:
    """The status as one aligned line, without a newline."""
    width = len(str(status.rows))
    spent = f"{status.tokens} tokens"
    if status.token_budget is not None:
        spent += f" of {status.token_budget} ({percent(status.tokens / status.token_budget, 1)})"
    left = "" if status.eta_seconds is None else f", {duration(status.eta_seconds)} left"
    return " | ".join(
        (
            f"rewrite {status.done:>{width}}/{status.rows}",
            f"{number(status.rows_per_second, 1)} rows/s{left}",
            f"kept {status.kept} dropped {status.dropped}",
            f"repeated {status.retries}",
            spent,
        )
    )


class RewritingView:
    """Shows statuses as they come. A context manager."""

    def __init__(self, title: str, mode: Mode, console: Console | None = None) -> None:
        """`title` names the run, for example `LengthAlignedSFT/gsm8k`."""
        self._mode = mode
        self._console = console or Console(soft_wrap=mode is Mode.LINES, highlight=False)
        self._shown_at = float("-inf")
        self._last = ""
        self._bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[text]}"),
            console=self._console,
        )
        self._task = self._bar.add_task(title, text="", total=None)

    def __enter__(self) -> Self:
        if self._mode is Mode.LIVE:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._mode is Mode.LIVE:
            self._bar.stop()

    def show(self, status: RewriteStatus, now: float, *, last: bool = False) -> None:
        """Show a status at `now` (monotonic seconds): the bar always, a line every few seconds and for the last one."""
        text = rewriting_line(status)
        if self._mode is Mode.LIVE:
            self._bar.update(self._task, completed=status.done, total=status.rows, text=text)
        elif self._mode is Mode.LINES and (last or now - self._shown_at >= LINE_SECONDS) and text != self._last:
            self._shown_at, self._last = now, text
            self.message(text)

    def message(self, text: str) -> None:
        """Print one line above the bar, or as a log line."""
        if self._mode is not Mode.QUIET:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)
