import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from igpo_trainer.loop.identity import claim
from igpo_trainer.spec.errors import InterruptedRunError, InvalidRunError

HASH = "a" * 64
OTHER = "b" * 64
WHO = {"kind": "IGPOTraining", "name": "gsm8k"}


def test_a_new_folder_is_claimed(tmp_path):
    ours = claim(tmp_path / "run", HASH, **WHO, run_id="uid-1", attempt=1)
    assert not ours.resumed
    assert not ours.adopted
    assert ours.still_owner()
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record == {"runId": "uid-1", "specHash": HASH, "attempt": 1, **WHO}


def test_the_same_spec_is_adopted_by_a_new_run(tmp_path):
    earlier = claim(tmp_path, HASH, **WHO, run_id="uid-1", attempt=3)
    ours = claim(tmp_path, HASH, **WHO, run_id="uid-2", attempt=1)
    assert ours.resumed
    assert ours.adopted
    assert ours.still_owner()
    assert not earlier.still_owner()


def test_another_spec_is_refused_with_both_hashes_and_the_remedy(tmp_path):
    owner = claim(tmp_path, HASH, **WHO, run_id="uid-1", attempt=1)
    with pytest.raises(InvalidRunError, match=r"holds another run.*aaaaaaaaaaaa.*bbbbbbbbbbbb.*subPath") as caught:
        claim(tmp_path, OTHER, **WHO, run_id="uid-2", attempt=1)
    assert "\n" not in str(caught.value)
    assert caught.value.cause == "VolumeHoldsAnotherRun"
    assert owner.still_owner()


def test_a_folder_with_a_teachers_answers_alone_is_taken_over_by_another_spec_and_its_owner_fenced_off(tmp_path):
    earlier = claim(tmp_path, HASH, **WHO, run_id="uid-1", attempt=3)
    (tmp_path / "rewritten").mkdir()
    ours = claim(tmp_path, OTHER, **WHO, run_id="uid-2", attempt=1)
    assert (ours.resumed, ours.adopted) == (False, False)
    with pytest.raises(InterruptedRunError, match="fenced off"):
        earlier.require_owner()
    (tmp_path / "metrics.jsonl").touch()
    with pytest.raises(InvalidRunError, match="holds another run"):
        claim(tmp_path, HASH, **WHO, run_id="uid-1", attempt=4)
    assert ours.still_owner()


def test_a_newer_attempt_fences_the_older_off(tmp_path):
    older = claim(tmp_path, HASH, **WHO, run_id="uid", attempt=1)
    older.require_owner()
    newer = claim(tmp_path, HASH, **WHO, run_id="uid", attempt=2)
    assert not newer.adopted
    with pytest.raises(InterruptedRunError, match="attempt 2; attempt 1 of run uid is fenced off") as caught:
        older.require_owner()
    assert caught.value.exit_code == 75
    assert caught.value.cause == "FencedOff"
    newer.require_owner()


def test_an_older_attempt_cannot_claim_from_a_newer(tmp_path):
    newer = claim(tmp_path, HASH, **WHO, run_id="uid", attempt=2)
    with pytest.raises(InterruptedRunError):
        claim(tmp_path, HASH, **WHO, run_id="uid", attempt=1)
    assert newer.still_owner()


def test_a_removed_record_fences_too(tmp_path):
    ours = claim(tmp_path, HASH, **WHO, run_id="uid", attempt=1)
    ours.path.unlink()
    with pytest.raises(InterruptedRunError, match="belongs to no attempt"):
        ours.require_owner()


def test_the_same_attempt_may_claim_again(tmp_path):
    first = claim(tmp_path, HASH, **WHO, run_id="uid", attempt=1)
    assert claim(tmp_path, HASH, **WHO, run_id="uid", attempt=1).resumed
    assert first.still_owner()


def test_at_a_desk_the_id_stays_and_the_attempt_counts_up(tmp_path):
    first = claim(tmp_path, HASH, **WHO)
    second = claim(tmp_path, HASH, **WHO)
    assert second.identity.run_id == first.identity.run_id
    assert (first.identity.attempt, second.identity.attempt) == (1, 2)
    assert not first.still_owner()


@pytest.mark.parametrize("text", ["", "{", '{"runId": 3}'])
def test_a_damaged_record_is_one_line_naming_the_file(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(InvalidRunError, match=r"run\.json is not a run record") as caught:
        claim(tmp_path, HASH, **WHO)
    assert "\n" not in str(caught.value)


def test_a_folder_below_a_file_names_user_and_path(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidRunError, match=rf"file/run cannot be written by uid {os.getuid()}, gid {os.getgid()}"):
        claim(tmp_path / "file" / "run", HASH, **WHO)


CLAIM_AS_ANOTHER_USER = """
import os, sys
from pathlib import Path
from igpo_trainer.loop.identity import claim
from igpo_trainer.spec.errors import InvalidRunError
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
try:
    claim(Path(sys.argv[1]), "a" * 64, kind="IGPOTraining", name="x")
except InvalidRunError as error:
    print(error)
"""


def test_an_unwritable_folder_names_user_group_and_path():
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o555)
        ended = subprocess.run(
            [sys.executable, "-c", CLAIM_AS_ANOTHER_USER, folder], capture_output=True, text=True, check=True
        )
        user = (65534, 65534) if os.getuid() == 0 else (os.getuid(), os.getgid())
        assert f"{folder} cannot be written by uid {user[0]}, gid {user[1]} (Permission denied)" in ended.stdout
        assert list(Path(folder).iterdir()) == []
