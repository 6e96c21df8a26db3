"""One run under test: started again after every kill, and compared in the end with the run that nobody killed."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from igpo_trainer.spec.contract import ExitCode
from kill_runs.attempt import Attempt, start
from kill_runs.manifest import RUN
from kill_runs.volume import KillTestError, Volume, differences
from kill_runs.watch import report_calls

Deadly = Callable[[str], bool]


@dataclass(slots=True)
class KilledRun:
    """A folder of runs with the finished SFT run `base`, where one IGPO run is started and killed."""

    root: Path
    manifest: Path
    volume: Volume = field(init=False)
    starts: int = 0

    def __post_init__(self) -> None:
        self.root = Path(os.path.realpath(self.root))
        self.volume = Volume(self.root.joinpath(*RUN))

    @classmethod
    def beside(cls, base: "KilledRun", name: str, manifest: Path) -> "KilledRun":
        """A new folder with a copy of the SFT run."""
        root = base.root.with_name(name)
        shutil.copytree(base.root / "LengthAlignedSFT", root / "LengthAlignedSFT")
        return cls(root, manifest)

    def start(self, deadly: Deadly = lambda _: False) -> Attempt:
        """Start it, or start it again; it dies before the first call below its folder that is `deadly`."""
        self.starts += 1
        arguments = ["run", "-f", str(self.manifest), "--runs", str(self.root), "--quiet", "--metrics-port", "0"]
        return start(arguments, self.log, lambda say: report_calls(say, self.volume.run_dir, deadly))

    def finish(self) -> Attempt:
        """Start it and let it end. Raises KillTestError when it does not end well."""
        attempt = self.start()
        attempt.until(lambda _: False)
        self.require_ended(attempt)
        return attempt

    def judge(self, attempt: Attempt, resumed_from: int | None) -> None:
        """After a kill: the volume keeps its promises, and the start that was killed had gone on from its newest."""
        if attempt.first_step is not None and attempt.first_step != (resumed_from or 0) + 1:
            raise KillTestError(f"a start began with step {attempt.first_step}, the checkpoint was of {resumed_from}")
        self.volume.judge()

    def require_ended(self, attempt: Attempt) -> None:
        """Raise KillTestError unless it exited with 0."""
        if attempt.code != ExitCode.DONE:
            tail = self.log.read_text(errors="replace").splitlines()[-5:]
            raise KillTestError(f"start {self.starts} ended with {attempt.code}: {' | '.join(tail)}")

    def require_same(self, whole: "KilledRun") -> None:
        """Raise KillTestError unless the folder is that of the whole run, bit for bit but for times."""
        if found := differences(self.volume.run_dir, whole.volume.run_dir):
            raise KillTestError(f"{self.volume.run_dir} is not as if nobody had killed the run: {'; '.join(found)}")

    @property
    def log(self) -> Path:
        """What all starts wrote to the terminal."""
        return self.root / "log.txt"
