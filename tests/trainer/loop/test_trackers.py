from contextlib import ExitStack

from accelerate.accelerator import Accelerator
from accelerate.tracking import GeneralTracker

from igpo_trainer.loop.trackers import start_trackers


class Notebook(GeneralTracker):
    name = "notebook"
    requires_logging_directory = False

    def __init__(self):
        super().__init__()
        self.lines = []

    @property
    def tracker(self):
        return self.lines

    def store_init_configuration(self, values):
        self.lines.append(values)

    def log(self, values, step=None, **_):
        self.lines.append((step, values))


def test_no_tracker_means_nothing_to_feed():
    with ExitStack() as resources:
        assert start_trackers(Accelerator(cpu=True), "IGPOTraining/x", {}, resources) is None


def test_a_tracker_gets_the_settings_and_every_steps_values():
    notebook = Notebook()
    with ExitStack() as resources:
        track = start_trackers(Accelerator(cpu=True, log_with=notebook), "IGPOTraining/x", {"seed": 3}, resources)
        track({"reward": 0.5}, 7)
    assert notebook.lines == [{"run": "IGPOTraining/x", "seed": 3}, (7, {"reward": 0.5})]
