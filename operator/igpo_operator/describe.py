"""`igpo describe` and `igpo status`: what runs do, and why one does not train, read with the user's own kubeconfig."""

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from igpo_operator.api.kinds import KINDS, Kind
from igpo_operator.apply.errors import ApiError, NoClusterError, NotFoundError
from igpo_operator.apply.resources import EVENTS, PODS, runs_of
from igpo_operator.apply.view import UnreadableError, owner_of, run_of
from igpo_operator.picture import picture_of, table_of
from igpo_operator.plan.observed import Run
from igpo_operator.render.names import RUN_LABEL
from igpo_trainer.spec.errors import RunError

if TYPE_CHECKING:  # the client takes a second to import, and every igpo command loads this module
    from igpo_operator.apply.kube import Kube

T = TypeVar("T")
Body = dict[str, Any]

_REFRESH_SECONDS: Final = 2.0

Namespace = Annotated[str | None, typer.Option("--namespace", "-n", help="Namespace; absent: that of the context.")]
NamespaceOrAll = Annotated[str, typer.Option("--namespace", "-n", help="Namespace; empty: all.")]
Context = Annotated[str | None, typer.Option("--context", help="Context of the kubeconfig; absent: the current one.")]


def describe(
    name: Annotated[str, typer.Argument(help="Name of the run; both kinds are looked for.")],
    namespace: Namespace = None,
    kind: Annotated[str | None, typer.Option("--kind", "-k", help="igpo or lasft, where both have the name.")] = None,
    context: Context = None,
) -> None:
    """Say why a run trains, or why not: phase, conditions, attempts, pods, the failing log, the next action."""
    console = Console()
    pictures = _ask(_describe(name, namespace, [k for k in KINDS if kind in (None, k.short, k.kind)], context))
    for picture in pictures:
        console.print(picture)


def status(
    namespace: NamespaceOrAll = "",
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Keep the table up to date until Ctrl-C.")] = False,
    context: Context = None,
) -> None:
    """Show every run in one table."""
    console = Console()
    try:
        _ask(_status(console, namespace or None, context, watch=watch))
    except KeyboardInterrupt:
        return


def _ask(question: Coroutine[Any, Any, T]) -> T:
    """Run against the API server; its errors become one line."""
    try:
        return asyncio.run(question)
    except ApiError as error:
        raise RunError(
            f"the API server did not answer as hoped: {error}; check the kubeconfig and your rights"
        ) from error


async def _connect(context: str | None) -> "Kube":
    try:
        from igpo_operator.apply.kube import Kube  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise RunError(f"{error.name} is not installed; pip install 'igpo[operator]'") from error
    try:
        return await Kube.connect(context=context)
    except NoClusterError as error:
        raise RunError(str(error)) from error


async def _describe(name: str, asked: str | None, kinds: list[Kind], context: str | None) -> list[Any]:
    kube = await _connect(context)
    namespace = asked or kube.namespace
    try:
        pictures = []
        for kind in kinds:
            try:
                run = _read(await kube.get(runs_of(kind), namespace, name))
            except NotFoundError:
                continue
            pods = await kube.list(PODS, namespace, lambda body, uid=run.uid: _owned(body, uid), labels=RUN_LABEL)  # type: ignore[misc]
            about = f"regarding.uid={run.uid}"
            events = await kube.list(EVENTS, namespace, lambda body: body, fields=about)
            pictures.append(picture_of(run, pods.items, events.items, datetime.now(UTC)))
    finally:
        await kube.close()
    if not pictures:
        wanted = " or ".join(kind.kind for kind in kinds) or "kind of that name"
        raise RunError(f"no {wanted} {name} in namespace {namespace}; see igpo status")
    return pictures


async def _status(console: Console, namespace: str | None, context: str | None, *, watch: bool) -> None:
    kube = await _connect(context)
    try:
        if not watch:
            console.print(await _table(kube, namespace))
            return
        with Live(console=console, auto_refresh=False) as live:
            while True:
                live.update(await _table(kube, namespace), refresh=True)
                await asyncio.sleep(_REFRESH_SECONDS)
    finally:
        await kube.close()


async def _table(kube: "Kube", namespace: str | None) -> RenderableType:
    """Every run that can be read, and a line for each that cannot."""
    runs: list[Run] = []
    problems: list[str] = []

    def keep(body: Body) -> None:
        try:
            runs.append(_read(body))
        except RunError as error:
            problems.append(str(error))

    for kind in KINDS:
        await kube.list(runs_of(kind), namespace, keep)
    return Group(table_of(runs, datetime.now(UTC)), *(Text(problem, style="yellow") for problem in problems))


def _read(body: Body) -> Run:
    try:
        return run_of(body)
    except UnreadableError as error:
        name = "{kind} {metadata[namespace]}/{metadata[name]}".format(**body)
        raise RunError(f"{name}: {error}; use the igpo that belongs to the operator's version") from error


def _owned(body: Body, uid: str) -> Body | None:
    owner = owner_of(body)
    return body if owner is not None and owner[1] == uid else None
