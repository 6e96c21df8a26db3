"""The operator as a process of its own: started, stopped and killed as kubelet would."""

import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

from igpo_cluster.waiting import until

QUICK = {
    "TRAINER_IMAGE": "registry.example/trainer:1",
    "PORT": "0",
    "ADDRESS": "127.0.0.1",
    "LOG_FORMAT": "text",
    "SCRAPE_SECONDS": "1",
    "PROGRESS_INTERVAL_SECONDS": "1",
    "LEASE_SECONDS": "3",
    "RESTART_BASE_SECONDS": "0.1",
    "RESTART_MAX_SECONDS": "0.1",
    "WAIT_BASE_SECONDS": "1",
    "WAIT_MAX_SECONDS": "1",
    "GRACE_SECONDS": "5",
}


class OperatorProcess:
    """One `python -m igpo_operator`; `start` it, as often as it was ended."""

    def __init__(self, kubeconfig: Path, log: Path, **settings: str) -> None:
        """Settings are IGPO_OPERATOR_* in lower case; everything is quick unless they say otherwise."""
        self._log = log
        self._environment = {k: v for k, v in os.environ.items() if not k.startswith(("IGPO_", "KUBERNETES_"))}
        self._environment["KUBECONFIG"] = str(kubeconfig)
        for name, value in (QUICK | {name.upper(): value for name, value in settings.items()}).items():
            self._environment[f"IGPO_OPERATOR_{name}"] = value
        self._process: subprocess.Popen[bytes] | None = None
        self._start_of_log = 0

    def start(self) -> "OperatorProcess":
        """Start a new process."""
        assert self._process is None
        with self._log.open("ab") as log:
            self._start_of_log = log.tell()
            command = [sys.executable, "-m", "igpo_operator"]
            self._process = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)
        return self

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """What the current, or the last, process has logged."""
        return self._log.read_bytes()[self._start_of_log :].decode()

    def kill(self) -> None:
        """SIGKILL; returns when the process is gone."""
        process = self._process
        if process is not None:
            process.kill()
            process.wait(timeout=30)
            if self._process is process:  # else another thread has started the next one meanwhile
                self._process = None

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(timeout=30)
        self._process = None
        return code

    def wait_for_log(self, pattern: str, within: float = 30.0) -> str:
        """Wait until the current process has logged something; the match."""

        def probe() -> re.Match[str] | None:
            assert self.running, self.log
            return re.search(pattern, self.log)

        return until(probe, f"the operator's log to match {pattern!r}", within).group(0)

    def page(self, path: str) -> tuple[int, str]:
        """GET /metrics or /healthz."""
        port = self.wait_for_log(r"probes on port \d+").rsplit(" ", 1)[1]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
