"""What --quiet silences beside the progress itself."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

_NO_BARS = "HF_HUB_DISABLE_PROGRESS_BARS"


@contextmanager
def hushed(quiet: bool) -> Iterator[None]:
    """When quiet: no download bars, no remarks such as another port. Enter it before the hub client is imported."""
    if not quiet:
        yield
        return
    logger, bars = logging.getLogger("igpo_trainer"), os.environ.get(_NO_BARS)
    level = logger.level
    logger.setLevel(logging.ERROR)
    os.environ[_NO_BARS] = "1"
    try:
        yield
    finally:
        logger.setLevel(level)
        if bars is None:
            del os.environ[_NO_BARS]
        else:
            os.environ[_NO_BARS] = bars
