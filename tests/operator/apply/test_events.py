import asyncio
from dataclasses import replace

from igpo_operator.api.reasons import Reason
from igpo_operator.apply.errors import AlreadyExistsError, RefusedError
from igpo_operator.apply.events import EventPoster, event_manifest
from igpo_operator.apply.view import run_of
from igpo_operator.plan.actions import Event
from operatorworld.bodies import run_body
from operatorworld.clock import ManualClock

RUN = run_of(run_body())
EVENT = Event("Normal", Reason.COMPLETED, "finished after step 30")


def test_an_event_is_about_the_run_and_its_name_about_the_transition() -> None:
    manifest = event_manifest(RUN, EVENT, ManualClock(), "me")
    assert manifest["regarding"]["uid"] == "run-1"
    assert manifest["note"] == "finished after step 30"
    assert manifest["reportingInstance"] == "me"
    again = event_manifest(RUN, EVENT, ManualClock(), "another")
    later = event_manifest(replace(RUN, resource_version="11"), EVENT, ManualClock(), "me")
    assert again["metadata"]["name"] == manifest["metadata"]["name"] != later["metadata"]["name"]


def test_a_long_note_is_cut_at_what_the_server_takes_and_stays_text() -> None:
    note = event_manifest(RUN, Event("Warning", Reason.TRAINING, "é" * 2000), ManualClock(), "me")["note"]
    assert len(note.encode()) <= 1024
    assert set(note) == {"é"}


def test_an_event_that_was_posted_before_is_posted_and_one_that_cannot_be_is_told() -> None:
    class Kube:
        error: Exception

        async def create(self, _: object) -> None:
            raise self.error

    async def post(error: Exception) -> object:
        kube = Kube()
        kube.error = error
        return await EventPoster(kube, ManualClock(), "me").post(RUN, EVENT)

    refused = RefusedError("create", 403, "no")
    assert asyncio.run(post(AlreadyExistsError("create", 409, "exists"))) is None
    assert asyncio.run(post(refused)) is refused
