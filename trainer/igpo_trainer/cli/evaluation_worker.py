"""One rank of `igpo eval --processes N`: what torchrun starts."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from igpo_trainer.cli.joining import ended_if_told
from igpo_trainer.cli.outcome import run_and_report
from igpo_trainer.cli.worker import end_process, give_up
from igpo_trainer.loop.stop import StopSignal


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Measure with the other ranks; the first writes the records to --result. Ends with the contract's code."""
    options = _parser().parse_args(arguments)
    with StopSignal() as stop:
        code = run_and_report(lambda: _measure(options, stop))
    end_process(code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="igpo-evaluation-worker", description=__doc__)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--document", required=True, help="KIND/NAME in the manifest")
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--result", type=Path, required=True, help="file that gets a record a line")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--step", type=int)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--samples", type=int)
    parser.add_argument("--temperature", type=float)
    return parser


def _measure(options: argparse.Namespace, stop: StopSignal) -> None:
    from igpo_trainer.loop.lifeline import Lifeline
    from igpo_trainer.loop.measure import Subject, measure
    from igpo_trainer.loop.ranks import Ranks
    from igpo_trainer.spec.manifest import load_manifest

    (document,) = [d for d in load_manifest(options.manifest) if str(d) == options.document]
    asked = {"samples": options.samples, "temperature": options.temperature}
    subject = Subject(
        document,
        options.runs,
        model=options.model,
        step=options.step,
        change={name: value for name, value in asked.items() if value is not None},
        out=options.out,
    )
    with ended_if_told(stop, give_up):
        ranks = Ranks.join()
    try:
        with Lifeline(ranks, give_up, advice="nothing was changed, start the evaluation again"):
            records = measure(subject, ranks, should_stop=lambda: stop.requested)
            if ranks.is_main:
                options.result.write_text("".join(f"{record.model_dump_json()}\n" for record in records))
            ranks.barrier()
    finally:
        ranks.leave()


if __name__ == "__main__":
    main()
