"""One rank of two: tries every collective of Ranks and writes what it saw as JSON to the path given."""

import json
import sys
import warnings
from pathlib import Path

import torch

from igpo_trainer.cli.worker import end_process
from igpo_trainer.loop.ranks import Ranks
from igpo_trainer.spec.errors import InvalidDataError, RunError

warnings.simplefilter("error")


def attempt(call):
    try:
        return call()
    except (RunError, ArithmeticError) as error:
        return f"{type(error).__name__}: {error}"


def square(numbers):
    return [number * number for number in numbers]


def refuse():
    raise InvalidDataError("no such folder")


def main(path):
    ranks = Ranks.join(cpu=True, timeout_seconds=60)

    def fail_on_one(numbers):
        if ranks.rank == 1:
            raise InvalidDataError("row 7 has no answer")
        return square(numbers)

    def divide_on_zero(numbers):
        return square(numbers) if ranks.rank else [1 // 0]

    def collective_inside(numbers):
        total = ranks.sum_tensor(torch.tensor(float(len(numbers)))).item()
        return [total for _ in numbers]

    seen = {
        "place": [ranks.rank, ranks.world, ranks.local_rank, ranks.is_main],
        "gathered": ranks.gather_objects({"rank": ranks.rank}),
        "share": {str(length): ranks.share(list(range(length))) for length in (0, 1, 5)},
        "pooled": {str(length): ranks.pooled(list(range(length)), square) for length in (0, 1, 2, 5)},
        "collective_inside": ranks.pooled([10, 11, 12], collective_inside),
        "one_fails": attempt(lambda: ranks.pooled([1, 2, 3], fail_on_one)),
        "unforeseen": attempt(lambda: ranks.pooled([1, 2, 3], divide_on_zero)),
        "short": attempt(lambda: ranks.pooled([1, 2, 3], lambda part: [])),
        "unequal": attempt(lambda: ranks.pooled(list(range(1 + ranks.rank)), square)),
        "any": [ranks.any_true(False), ranks.any_true(ranks.rank == 1), ranks.any_true(True)],
    }
    seen["on_main"] = [
        attempt(lambda: ranks.on_main(lambda: "made once")),
        attempt(lambda: ranks.on_main(refuse)),
        attempt(lambda: ranks.on_main(lambda: 1 // 0)),
    ]
    seen["from_main"] = [
        attempt(lambda: ranks.from_main(lambda: f"rank {ranks.rank}")),
        attempt(lambda: ranks.from_main(refuse)),
    ]
    mine = torch.tensor([1.0 + ranks.rank, 10.0], dtype=torch.float64, requires_grad=True)
    seen["sum"] = ranks.sum_tensor(mine).tolist()
    seen["untouched"] = mine.tolist()
    ranks.barrier()
    ranks.leave()
    Path(path).write_text(json.dumps(seen))


if __name__ == "__main__":
    main(sys.argv[1])
    end_process(0)
