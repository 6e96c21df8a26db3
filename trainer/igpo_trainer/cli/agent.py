"""torchrun without its noise: runs it unchanged and hands each failed rank's exit code to the launcher.

A process of its own because torchrun turns every code into 1 and prints a long traceback over the rank's own.
"""

import logging
import os
import sys
from functools import partial
from pathlib import Path
from typing import Final

from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher import api as launcher
from torch.distributed.run import main as torchrun

from igpo_trainer.cli.rank_exit import RankExit, leave_rank_exits
from igpo_trainer.spec.contract import EXIT_FILE_VARIABLE

_RESTATED: Final = ("torch.distributed.elastic.agent.server.api", "torch.distributed.elastic.multiprocessing.api")
"""Loggers that repeat, in torchrun's terms, a signal or an exit code that ranks and launcher tell in ours."""

EXIT_BARRIER_SECONDS: Final = 10.0
"""How long the agent of a pod whose ranks have ended well waits for other pods' agents.

torchrun's own 300 s would hold a pod that has saved for as long when another was told to stop and left: only agents
that were not told take part in the barrier. Ranks meet at their own barrier before they end.
"""


def main() -> int:
    """Run torchrun with our arguments; 1 when a rank failed, 128 + n when signal n ended it."""
    for name in _RESTATED:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    launcher.LocalElasticAgent = partial(  # type: ignore[assignment,attr-defined]  # torchrun has no option for it
        LocalElasticAgent, exit_barrier_timeout=EXIT_BARRIER_SECONDS
    )
    try:
        torchrun(sys.argv[1:])
    except ChildFailedError as error:
        exits = {
            failure.local_rank: RankExit(failure.exitcode, failure.timestamp) for failure in error.failures.values()
        }
        leave_rank_exits(Path(os.environ[EXIT_FILE_VARIABLE]), exits)
        return 1
    except SignalException as error:
        return 128 + error.sigval
    return 0


if __name__ == "__main__":
    sys.exit(main())
