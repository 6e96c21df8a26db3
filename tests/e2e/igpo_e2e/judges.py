"""The judges that GitOps tools use, as the Go libraries themselves: kstatus, Argo CD's diff, Argo CD's Lua."""

import json
import subprocess
from pathlib import Path
from typing import Any

from igpo_cluster import programs

Body = dict[str, Any]


def kstatus(objects: list[Body]) -> list[str]:
    """What kstatus calls each object: InProgress, Current, Failed, Terminating."""
    return [str(answer["status"]) for answer in _judge("kstatus", objects)]


def argo_says_modified(git: Body, live: Body) -> Body:
    """Argo CD's verdict on the object in Git against the live one, three-way: {modified, diff}."""
    return argo_compares([{"git": git, "live": live}])[0]


def argo_compares(pairs: list[Body], openapi: Body | None = None) -> list[Body]:
    """Argo CD's verdict on each pair of {git, live, mode, predicted}: {modified, diff}.

    Three-way without a mode; StructuredMerge and ServerSide need openapi, and the latter predicted: the answer to a
    server-side apply of git that is not kept.
    """
    schemas = {} if openapi is None else {"openapi": openapi}
    return list(_judge("argodiff", {"pairs": pairs, **schemas}))


def argo_runs(script: Path, objects: list[Body]) -> list[Any]:
    """What a health check or an action of Argo CD makes of each object."""
    return list(_judge("lua", {"script": script.read_text(encoding="utf-8"), "objects": objects}))


def _judge(command: str, question: object) -> Any:
    words = [str(programs.locate("igpo-judges")), command]
    done = subprocess.run(words, input=json.dumps(question), capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    return json.loads(done.stdout)
