"""The documents of a YAML file as JSON values, each value with the line it stands on."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, StreamMark, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.representer import SafeRepresenter
from ruamel.yaml.resolver import VersionedResolver
from ruamel.yaml.tag import Tag

from igpo_trainer.spec.errors import InvalidRunError
from igpo_trainer.spec.scalar import Scalar, resolve_scalar

JSON = Scalar | list["JSON"] | dict[str, "JSON"]
FieldPath = tuple[str | int, ...]

MAX_BYTES: Final = 3 * 2**20
"""Largest manifest read, in bytes: what the Kubernetes API server takes."""
MAX_VALUES: Final = 100_000
"""Most values in one document after its aliases are filled in."""
MAX_DEPTH: Final = 100

_STANDARD: Final = "tag:yaml.org,2002:"
_PLAIN: Final = "tag:igpo.dev,2026:plain"
_TYPES: Final[dict[str, type | tuple[type, ...]]] = {
    f"{_STANDARD}int": int,
    f"{_STANDARD}float": (int, float),
    f"{_STANDARD}bool": bool,
    f"{_STANDARD}null": type(None),
}


@dataclass(frozen=True, slots=True)
class YamlDocument:
    """One non-empty document of a file."""

    value: JSON
    lines: Mapping[FieldPath, int]  # 1-based; of a mapping's entry, the line of its key

    def line(self, path: FieldPath) -> int:
        """Line of the value at path, or of its nearest ancestor in the document."""
        while path not in self.lines:
            path = path[:-1]
        return self.lines[path]


def read_documents(path: Path) -> list[YamlDocument]:
    """Read a multi-document YAML or JSON file; empty documents are left out.

    Raises InvalidRunError for a file that cannot be read or parsed and for a key that is written twice.
    """
    text = _text(path)
    yaml = YAML(typ="safe", pure=True)
    yaml.Resolver = _PlainOrText
    yaml.max_depth = MAX_DEPTH
    try:
        return [_Reader(path).document(node) for node in yaml.compose_all(text) if not _is_empty(node)]
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{path}:{mark.line + 1}" if isinstance(mark, StreamMark) else str(path)
        what = " ".join(part for part in (error.context, error.problem) if part)
        raise InvalidRunError(f"{place}: not YAML: {what}; correct the line") from error
    except (YAMLError, RecursionError) as error:
        what = " ".join(str(error).split()) or "nested too deeply"
        raise InvalidRunError(f"{path}: not YAML: {what}; correct the file") from error


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InvalidRunError(f"{path}: cannot be read ({error.strerror}); give the path of a manifest") from error
    if len(data) > MAX_BYTES:
        raise InvalidRunError(f"{path}: larger than the limit of {MAX_BYTES} bytes; split the file")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidRunError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8") from error


def write_document(value: JSON) -> str:
    """Write one document that this reader and kubectl both read back as the same value."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.allow_unicode = True
    yaml.width = MAX_BYTES
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # declared None
    yaml.Representer = _QuotesWhatKubectlWouldResolve
    stream = StringIO()
    yaml.dump(value, stream)
    return stream.getvalue()


class _QuotesWhatKubectlWouldResolve(SafeRepresenter):
    """YAML 1.2 leaves `yes` and `017` without quotes; kubectl would read a truth and a number."""

    def represent_str(self, data: str) -> ScalarNode:
        node: ScalarNode = super().represent_str(data)
        if not _stays_text(data) or not data.isprintable():
            node.style = '"'
        return node


_QuotesWhatKubectlWouldResolve.add_representer(str, _QuotesWhatKubectlWouldResolve.represent_str)


def _stays_text(text: str) -> bool:
    try:
        return isinstance(resolve_scalar(text), str) and text != "<<"
    except ValueError:
        return False


class _PlainOrText(VersionedResolver):
    """Leaves plain scalars undecided; what they mean is kubectl's rule, not the library's."""

    def resolve(self, kind: type[Node], value: object, implicit: tuple[bool, bool]) -> Tag:
        if kind is ScalarNode:
            return Tag(suffix=_PLAIN if implicit[0] else f"{_STANDARD}str")
        resolved: Tag = super().resolve(kind, value, implicit)
        return resolved


def _is_empty(node: Node) -> bool:
    return isinstance(node, ScalarNode) and node.tag == _PLAIN and resolve_scalar(node.value) is None


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1


class _Reader:
    """Turns the node graph of one document into JSON values and notes their lines."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: dict[FieldPath, int] = {}
        self._values = 0

    def document(self, node: Node) -> YamlDocument:
        self._lines[()] = _line(node)
        return YamlDocument(self._value(node, (), ()), self._lines)

    def _value(self, node: Node, path: FieldPath, parents: tuple[Node, ...]) -> JSON:
        self._values += 1
        if self._values > MAX_VALUES:
            raise self._error(node, f"more than {MAX_VALUES} values once aliases are filled in; use fewer aliases")
        parents = self._below(node, parents)
        if isinstance(node, ScalarNode):
            return self._scalar(node)
        if isinstance(node, MappingNode):
            return dict(self._entries(self._checked(node, "map"), path, parents))
        values: list[JSON] = []
        for index, item in enumerate(self._checked(node, "seq").value):
            self._lines[(*path, index)] = _line(item)
            values.append(self._value(item, (*path, index), parents))
        return values

    def _entries(self, node: Node, path: FieldPath, parents: tuple[Node, ...]) -> Iterator[tuple[str, JSON]]:
        seen: dict[str, int] = {}
        for key_node, value_node in node.value:
            if isinstance(key_node, ScalarNode) and key_node.tag == _PLAIN and key_node.value == "<<":
                for source in self._merged(value_node):
                    yield from self._entries(source, path, self._below(source, parents))
                continue
            key = self._key(key_node)
            if key in seen:
                raise self._error(key_node, f"{key} is already set on line {seen[key]}; remove one of the two")
            seen[key] = self._lines[(*path, key)] = _line(key_node)
            yield key, self._value(value_node, (*path, key), parents)

    def _below(self, node: Node, parents: tuple[Node, ...]) -> tuple[Node, ...]:
        if node in parents:
            raise self._error(node, "an alias contains itself; write the values out")
        return (*parents, node)

    def _merged(self, node: Node) -> list[Node]:
        """List the mappings behind `<<`, last first: an earlier one wins, as in kubectl."""
        sources = list(reversed(node.value)) if isinstance(node, SequenceNode) else [node]
        for source in sources:
            if not isinstance(source, MappingNode):
                raise self._error(source, "<< merges mappings only; give it an alias of a mapping")
        return sources

    def _key(self, node: Node) -> str:
        key = self._scalar(node) if isinstance(node, ScalarNode) else None
        if isinstance(key, bool):
            return "true" if key else "false"
        if isinstance(key, int):
            return str(key)
        if isinstance(key, str):
            return key
        raise self._error(node, "a key is not text; put it in quotes")

    def _scalar(self, node: ScalarNode) -> Scalar:
        tag = str(node.tag)
        if tag == f"{_STANDARD}str":
            return str(node.value)
        if tag != _PLAIN and tag not in _TYPES:
            raise self._error(node, f"tag {tag.replace(_STANDARD, '!!')} has no meaning in a manifest; remove it")
        try:
            value = resolve_scalar(node.value)
        except ValueError as error:
            raise self._error(node, str(error)) from error
        if tag != _PLAIN and (
            not isinstance(value, _TYPES[tag]) or (isinstance(value, bool) and _TYPES[tag] is not bool)
        ):
            raise self._error(
                node, f"{node.value!r} is not a {tag.replace(_STANDARD, '!!')}; correct the value or the tag"
            )
        return value

    def _checked(self, node: Node, kind: str) -> Node:
        if str(node.tag) != f"{_STANDARD}{kind}":
            tag = str(node.tag).replace(_STANDARD, "!!")
            raise self._error(node, f"tag {tag} has no meaning in a manifest; remove it")
        return node

    def _error(self, node: Node, problem: str) -> InvalidRunError:
        return InvalidRunError(f"{self._path}:{_line(node)}: {problem}")
