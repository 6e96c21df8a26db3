"""The orderly end of a run that was told to stop."""

from igpo_trainer.spec.errors import InterruptedRunError


class StopRequestedError(InterruptedRunError):
    """SIGTERM or Ctrl-C: raised on every rank at the same point, so that all save the same step."""

    def __init__(self, message: str = "told to stop; the state is saved, start the run again to continue") -> None:
        super().__init__(message)
