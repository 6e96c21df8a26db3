"""Errors that end a run, each with the exit code the pod contract gives it (see contract.ExitCode)."""

from igpo_trainer.spec.contract import Cause, ExitCode


class RunError(Exception):
    """A failure with one line for the reader: the value, the limit, the next action. Retried by the operator."""

    exit_code: ExitCode = ExitCode.FAILED

    def __init__(self, message: str = "", *, cause: Cause | None = None) -> None:
        super().__init__(message)
        self.cause = cause
        """For programs; None where the exit code says it all."""


class InvalidRunError(RunError):
    """The manifest, model or volume can never work as given; a retry would fail the same way."""

    exit_code = ExitCode.INVALID_RUN


class InvalidDataError(RunError):
    """The data set or a row of it can never work as given; a retry would fail the same way."""

    exit_code = ExitCode.INVALID_DATA


class InterruptedRunError(RunError):
    """SIGTERM arrived and every rank saved; the run wants to be started again."""

    exit_code = ExitCode.SAVED_ON_SIGTERM
