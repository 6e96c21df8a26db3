"""Print what an extra of pyproject.toml needs, one requirement a line: the input of an image's layer of dependencies.

    python3 images/requirements.py pyproject.toml trainer

Comments, tools and versions of igpo itself leave the output, and with it that layer, as it was.
"""

import sys
import tomllib
from pathlib import Path


def requirements(pyproject: Path, extra: str) -> list[str]:
    """Requirements of the project and of one extra, sorted; a KeyError names an extra that does not exist."""
    project = tomllib.loads(pyproject.read_text())["project"]
    return sorted([*project["dependencies"], *project["optional-dependencies"][extra]])


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in requirements(Path(sys.argv[1]), sys.argv[2]))
