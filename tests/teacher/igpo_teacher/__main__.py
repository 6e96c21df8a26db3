"""Serve until killed: `python -m igpo_teacher --port 8000`; prints the base URL."""

import argparse
import sys
import threading

from igpo_teacher.faults import SHARES, Faults
from igpo_teacher.server import TeacherServer

parser = argparse.ArgumentParser(prog="igpo_teacher", description=__doc__)
parser.add_argument("--port", type=int, default=0)
parser.add_argument("--address", default="127.0.0.1")
for share in SHARES:
    parser.add_argument(f"--{share.replace('_', '-')}", type=float, default=0.0, help="share of requests")
options = parser.parse_args()
faults = Faults(**{share: getattr(options, share) for share in SHARES})
with TeacherServer(address=options.address, port=options.port, faults=faults) as server:
    sys.stdout.write(f"{server.base_url}\n")
    sys.stdout.flush()
    threading.Event().wait()
