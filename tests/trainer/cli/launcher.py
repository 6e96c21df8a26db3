"""Launches ranks.py under the real torchrun: launcher.py PROCESSES GRACE_SECONDS TERMINATION_LOG SCENARIO.

PROCESSES `pod` takes the gang from the PET_* environment, as igpo-launch does.
"""

import os
import sys
from pathlib import Path

from igpo_trainer.cli.gang import Gang
from igpo_trainer.cli.launch import launch

if __name__ == "__main__":
    processes, grace, log, scenario = sys.argv[1:]
    worker = [sys.executable, str(Path(__file__).with_name("ranks.py")), scenario]
    gang = Gang.from_environment(os.environ) if processes == "pod" else Gang(processes=int(processes))
    sys.exit(launch(worker, gang, grace_seconds=float(grace), termination_log=Path(log)))
