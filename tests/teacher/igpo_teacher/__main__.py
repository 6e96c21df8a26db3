"""Serve until killed: `python -m igpo_teacher --port 8000`; prints the base URL."""

import argparse
import os
import sys
import threading

from igpo_teacher.faults import SHARES, Faults
from igpo_teacher.server import TeacherServer

parser = argparse.ArgumentParser(prog="igpo_teacher", description=__doc__)
parser.add_argument("--port", type=int, default=0)
parser.add_argument("--address", default="127.0.0.1")
parser.add_argument("--model", default="short", help="the only model there is (default: %(default)s)")
parser.add_argument("--key-variable", help="environment variable with the key that is asked for (default: none is)")
for share in SHARES:
    parser.add_argument(f"--{share.replace('_', '-')}", type=float, default=0.0, help="share of requests")
options = parser.parse_args()
key = os.environ[options.key_variable] if options.key_variable else None
faults = Faults(**{share: getattr(options, share) for share in SHARES})
place = {"address": options.address, "port": options.port}
with TeacherServer(**place, key=key, model=options.model, faults=faults) as server:
    sys.stdout.write(f"{server.base_url}\n")
    sys.stdout.flush()
    threading.Event().wait()
