import asyncio
import os
import signal
import subprocess
import sys
import threading

import pytest

from igpo_trainer.loop.ranks import Ranks
from igpo_trainer.loop.stop import StopSignal


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_is_remembered(number):
    with StopSignal() as stop:
        assert not stop.requested_anywhere(Ranks())
        signal.raise_signal(number)
        assert stop.requested
        assert stop.requested_anywhere(Ranks())


def test_a_repeated_sigterm_changes_nothing():
    with StopSignal() as stop:
        for _ in range(5):
            signal.raise_signal(signal.SIGTERM)
        assert stop.requested


def test_a_second_interrupt_aborts():
    with StopSignal():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_an_interrupt_after_sigterm_still_lets_the_run_save():
    with StopSignal() as stop:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        assert stop.requested


def test_a_third_interrupt_kills_the_process_whatever_it_swallows():
    script = """
import signal
from igpo_trainer.loop.stop import StopSignal
with StopSignal():
    signal.raise_signal(signal.SIGINT)
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        pass
    signal.raise_signal(signal.SIGINT)
    print("survived")
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False, env=os.environ)
    assert ended.returncode == -signal.SIGINT
    assert ended.stdout == b""


def test_handlers_are_put_back():
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with StopSignal():
        assert signal.getsignal(signal.SIGTERM) != before[0]
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_stopping_needs_no_torch():
    script = "import sys, igpo_trainer.loop.stop; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False, env=os.environ).returncode == 0


def test_a_wait_ends_at_once_when_told_to_stop():
    with StopSignal() as stop:
        threading.Timer(0.05, signal.raise_signal, (signal.SIGTERM,)).start()
        assert stop.wait(100.0)
        assert stop.wait(100.0)


def test_an_event_loop_hears_of_a_signal():
    async def heard():
        told = asyncio.Event()
        asyncio.get_running_loop().add_reader(stop.wakeup, told.set)
        signal.raise_signal(signal.SIGTERM)
        await asyncio.wait_for(told.wait(), 60)

    with StopSignal() as stop:
        asyncio.run(heard())
        assert stop.requested
    assert stop.wakeup is None


def test_a_wait_ends_by_itself():
    with StopSignal() as stop:
        assert not stop.wait(0.01)
