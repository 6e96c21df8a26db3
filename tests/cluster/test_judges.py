import json
import subprocess
from typing import Any

import pytest

from igpo_cluster import programs

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


def _judge(command: str, question: Any) -> Any:
    words = [str(programs.locate("igpo-judges")), command]
    done = subprocess.run(words, input=json.dumps(question), capture_output=True, text=True, check=True, timeout=60)
    return json.loads(done.stdout)


def _object(**parts: Any) -> dict[str, Any]:
    return {"apiVersion": "test.igpo.dev/v1", "kind": "Boat", "metadata": {"name": "b", "generation": 2}, **parts}


def test_kstatus_judges_one_object_or_many_by_generation_and_conditions() -> None:
    stalled = {"type": "Stalled", "status": "True", "reason": "Aground", "message": "wait for the tide"}
    behind = _object(status={"observedGeneration": 1})
    failed = _object(status={"observedGeneration": 2, "conditions": [stalled]})
    done = _object(status={"observedGeneration": 2})
    assert [verdict["status"] for verdict in _judge("kstatus", behind)] == ["InProgress"]
    verdicts = _judge("kstatus", [failed, done])
    assert [verdict["status"] for verdict in verdicts] == ["Failed", "Current"]
    assert verdicts[0]["message"] == "wait for the tide"


def test_argo_sees_a_changed_field_and_no_drift_in_defaults_and_status() -> None:
    git = _object(spec={"masts": 1})
    live = _object(spec={"masts": 1, "sails": 2}, status={"phase": "Afloat"})
    drifted = _object(spec={"masts": 3, "sails": 2})
    assert _judge("argodiff", {"pairs": [{"git": git, "live": live}, {"git": git, "live": drifted}]}) == [
        {"modified": False, "diff": {}},
        {"modified": True, "diff": {"spec": {"masts": 1}}},
    ]


def test_a_script_of_argo_sees_the_object_and_has_tables_but_no_strings() -> None:
    script = "table.insert(obj.crew, 'cook') obj.fast = obj.spec.masts > 1 return obj"
    boat = {"spec": {"masts": 2}, "crew": ["mate"]}
    assert _judge("lua", {"script": script, "objects": [boat]}) == [boat | {"crew": ["mate", "cook"], "fast": True}]
    with pytest.raises(subprocess.CalledProcessError):
        _judge("lua", {"script": "return string.upper('x')", "objects": [boat]})
