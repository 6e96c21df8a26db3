"""How a benchmark that can be continued ends: by its exit code, an error in one line, or a stop."""

import signal
from collections.abc import Callable

from igpo_trainer.spec.errors import RunError


def run_script(name: str, main: Callable[[], int]) -> None:
    """Call main and exit as it says; SIGTERM and Ctrl-C stop it, and its runs, so that a later call continues."""
    signal.signal(signal.SIGTERM, _stop)
    try:
        raise SystemExit(main())
    except RunError as error:
        raise SystemExit(f"{name}: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit(f"{name}: stopped; call again to continue") from None


def _stop(_signal: int, _frame: object) -> None:
    raise SystemExit(128 + signal.SIGTERM)
