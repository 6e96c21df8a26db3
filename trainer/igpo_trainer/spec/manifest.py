"""The manifest: the same YAML documents for `igpo run` at a desk and `kubectl apply` on a cluster."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from igpo_trainer.spec.contract import API_VERSION
from igpo_trainer.spec.document import KINDS, Document, Spec, check_document
from igpo_trainer.spec.errors import InvalidRunError
from igpo_trainer.spec.field_problem import SPEC, dotted
from igpo_trainer.spec.model import RunKind
from igpo_trainer.spec.yaml_document import read_documents

__all__ = ["KINDS", "Document", "ManifestError", "Spec", "dependency_order", "load_manifest", "source_of"]


class ManifestError(InvalidRunError):
    """Everything wrong with a manifest, one line each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


def load_manifest(path: Path | str) -> list[Document]:
    """Read and check every document of a file, in file order.

    Raises ManifestError (exit code 64) with every problem of every document, InvalidRunError for what is no YAML.
    """
    path = Path(path)
    sources = read_documents(path)
    if not sources:
        raise ManifestError([f"{path}: holds no document; write a run of apiVersion {API_VERSION}"])
    documents: list[Document] = []
    problems: list[str] = []
    for source in sources:
        checked = check_document(source, path)
        if isinstance(checked, Document):
            documents.append(checked)
        else:
            by_line = sorted(checked, key=lambda problem: source.line(problem.path))
            problems += [f"{path}:{source.line(problem.path)}: {problem.text}" for problem in by_line]
    problems += _across(documents)
    if problems:
        raise ManifestError(problems)
    return documents


def dependency_order(documents: Iterable[Document]) -> list[Document]:
    """Documents with every `model.from` before its user, otherwise in the given order.

    A source outside the documents is taken to exist already. Raises ManifestError for a cycle.
    """
    waiting = list(documents)
    ordered: list[Document] = []
    while waiting:
        blocked = {(document.kind, document.name) for document in waiting}
        ready = next((document for document in waiting if source_of(document) not in blocked), None)
        if ready is None:
            names = " → ".join(str(document) for document in _cycle(waiting))
            place = _cycle(waiting)[0].place(SPEC, "model", "from")
            raise ManifestError([f"{place}: spec.model.from makes a cycle: {names}; let one run start from a source"])
        ordered.append(ready)
        waiting.remove(ready)
    return ordered


def source_of(document: Document) -> tuple[RunKind, str] | None:
    """Kind and name of the run that this one starts from."""
    origin = document.spec.model.from_
    return None if origin is None else (origin.kind, origin.name)


def _cycle(waiting: Sequence[Document]) -> list[Document]:
    """Find a cycle among documents that all wait for one another; its first document is repeated at the end."""
    by_key = {(document.kind, document.name): document for document in waiting}
    walk = [waiting[0]]
    while True:
        following = by_key[source_of(walk[-1]) or (walk[-1].kind, walk[-1].name)]
        if following in walk:
            return [*walk[walk.index(following) :], following]
        walk.append(following)


def _across(documents: Sequence[Document]) -> list[str]:
    problems: list[str] = []
    by_key: dict[tuple[str, str], Document] = {}
    for document in documents:
        first = by_key.setdefault((document.kind, document.name), document)
        if first is not document:
            place = document.place("metadata", "name")
            problems.append(f"{place}: {document} is already defined at {first.place()}; rename one of them")
    for document in documents:
        source = by_key.get(source_of(document) or ("", ""))
        if source is not None:
            problems += _source_problems(document, source)
    if not problems:
        try:
            dependency_order(documents)
        except ManifestError as error:
            problems += error.problems
    return problems


def _source_problems(document: Document, source: Document) -> list[str]:
    problems = []
    if document.namespace != source.namespace:
        problems.append(
            f"{document.place(SPEC, 'model', 'from')}: spec.model.from {source} is in namespace {source.namespace!r}, "
            f"this run in {document.namespace!r}; put both into one namespace"
        )
    ours, theirs = document.spec.completion_length, source.spec.completion_length
    if ours != theirs:
        field_name, their_field = _canvas_field(document), _canvas_field(source)
        problems.append(
            f"{document.place(SPEC, *field_name)}: {dotted((SPEC, *field_name))} {ours} of {document} differs from "
            f"{'.'.join(their_field)} {theirs} of {source}, from which it starts; give both runs one canvas length"
        )
    return problems


def _canvas_field(document: Document) -> tuple[str, str]:
    return ("length", "target") if document.kind == "LengthAlignedSFT" else ("sampling", "completionLength")
