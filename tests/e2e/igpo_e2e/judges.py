"""The judges that GitOps tools use, as the Go libraries themselves: kstatus and Argo CD's diff."""

import json
import subprocess
from typing import Any

from igpo_cluster import programs

Body = dict[str, Any]


def kstatus(objects: list[Body]) -> list[str]:
    """What kstatus calls each object: InProgress, Current, Failed, Terminating."""
    return [str(answer["status"]) for answer in _judge("kstatus", objects)]


def argo_says_modified(git: Body, live: Body) -> Body:
    """Argo CD's verdict on the object in Git against the live one: {modified, diff}."""
    return dict(_judge("argodiff", {"git": git, "live": live}))


def _judge(command: str, question: object) -> Any:
    words = [str(programs.locate("igpo-judges")), command]
    done = subprocess.run(words, input=json.dumps(question), capture_output=True, text=True, check=True, timeout=120)
    return json.loads(done.stdout)
