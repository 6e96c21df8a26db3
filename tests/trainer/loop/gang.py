"""Ranks of a real gloo group, forked from a process that has imported torch already."""

import os
import select
import signal
import socket
import time
import traceback

from igpo_trainer.cli.worker import end_process


def together(world, body, *, seconds=280.0, all_end=False):
    """Run `body` once per rank; exit codes by rank.

    When the time is up, or one has failed unless `all_end`, the others are killed.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": str(world)}
    ranks = [_forked(body, place | {name: str(rank) for name in ("RANK", "LOCAL_RANK")}) for rank in range(world)]
    try:
        return _codes(ranks, seconds, all_end=all_end)
    finally:
        for pid in ranks:
            try:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            except (ProcessLookupError, ChildProcessError):
                continue


def _forked(body, environment):
    if (pid := os.fork()) == 0:
        os.environ.update(environment if environment["WORLD_SIZE"] != "1" else {})
        code = 1
        try:
            body()
            code = 0
        except BaseException:
            traceback.print_exc()
        end_process(code)
    return pid


def _codes(ranks, seconds, *, all_end):
    """Exit codes by rank; None for one that still runs."""
    codes = dict.fromkeys(ranks)
    ends = {os.pidfd_open(pid): pid for pid in ranks}
    poll = select.poll()
    for end in ends:
        poll.register(end, select.POLLIN)
    deadline = time.monotonic() + seconds
    while ends and (all_end or not any(codes.values())):
        ready = poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
        if not ready:
            break
        for end, _ in ready:
            poll.unregister(end)
            os.close(end)
            pid = ends.pop(end)
            codes[pid] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    for end in ends:
        os.close(end)
    return list(codes.values())
