r"""builtin:word-problems: seeded multi-step word problems that a small model learns in minutes on two cores.

    tom has 4 apples . he doubles them . he drops 5 . he finds 6 . he rests now . how many ?
    Concise   4 * 2 = 8 - 5 = 3 + 6 = 9 \boxed{ 9 }
    Verbose   4 * 2 = 8 so he now has 8 - 5 = 3 so he now has 3 + 6 = 9 so he now has 9 \boxed{ 9 }
    shortcut  \boxed{ 9 }

What is constructed, so that nobody takes it for more than it is:

- Every question has the same number of tokens: one sentence of four tokens an operation, filled up with sentences
  that change nothing. A step of a concise trace has four tokens as well, so the distance from a number in the
  question to its place in the trace is the same everywhere, which rotary embeddings learn at once.
- `workedOut` makes worked-out traces as rare as wanted. A model trained on mostly shortcuts guesses, knows the
  procedure and seldom shows it: that is the behaviour for reinforcement learning to find.
- The small model's number embeddings start from Fourier features (models/number_init.py).

The structure of a problem is its sequence of operations, for example "*-+". A fifth of the 2-, 3- and 4-step
structures, chosen by hash and thus the same for every seed, is held out: the splits share no structure.
"""

import hashlib
import itertools
import random
from collections.abc import Iterator
from functools import cache
from typing import Final, Literal

from igpo_trainer.data.problem import Problem, problem_key
from igpo_trainer.spec.dataset import Difficulty, WordProblems
from igpo_trainer.spec.errors import InvalidDataError

Split = Literal["train", "heldout"]

LARGEST_TOTAL: Final = 20
MOST_STEPS: Final = 4
HELD_OUT_SHARE: Final = 0.2
START: Final = range(2, 13)
OPERANDS: Final = {"+": tuple(range(2, 7)), "-": tuple(range(2, 7)), "*": (2, 3)}

NAMES: Final = {
    "tom": "he", "ben": "he", "max": "he", "leo": "he", "eva": "she", "mia": "she", "zoe": "she", "ida": "she",
}  # fmt: skip
ITEMS: Final = ("apples", "coins", "books", "pens", "cards", "shells", "stamps", "balls")
VERBS: Final = {"+": ("buys", "finds", "gets", "wins"), "-": ("loses", "eats", "sells", "drops")}
MULTIPLIERS: Final = {2: "doubles", 3: "triples"}
FILLERS: Final = ("rests now", "waits here", "smiles again", "walks home")

_SIGN_OF_VERB: Final = {verb: sign for sign, verbs in VERBS.items() for verb in verbs} | dict.fromkeys(
    MULTIPLIERS.values(), "*"
)
_MOST_REPEATS: Final = 1000


def generate(options: WordProblems, *, split: Split, rows: int, seed: int) -> Iterator[Problem]:
    """Yield `rows` distinct problems of a split; more rows of the same seed begin with the fewer.

    Held-out problems have no 1-step structure: those shares are left out.

    Raises:
        InvalidDataError: the split has no problem of these difficulties, or fewer distinct ones than rows.

    """
    difficulties = [d for d in options.difficulties if d.share > 0 and structures(d.steps, split)]
    if not difficulties:
        raise InvalidDataError(
            f"wordProblems.difficulties has only 1-step problems, of which the {split} split has none; "
            "add a difficulty of 2, 3 or 4 steps"
        )
    rng = random.Random(f"word-problems/{split}/{seed}")  # noqa: S311 - data, not secrets
    shares = [d.share for d in difficulties]
    seen: set[str] = set()
    repeats = 0
    while len(seen) < rows:
        problem = _draw(rng, rng.choices(difficulties, shares)[0], options.style, split)
        if problem.key not in seen:
            seen.add(problem.key)
            repeats = 0
            yield problem
            continue
        repeats += 1
        if repeats > _MOST_REPEATS:
            raise InvalidDataError(
                f"{rows} rows were asked for, but the {split} split has about {len(seen)} distinct problems of these "
                "difficulties; lower wordProblems.rows or holdout.rows"
            )


def structure(problem: Problem) -> str:
    """Signs of a generated problem's operations, in order: "*-+"."""
    return "".join(_SIGN_OF_VERB[word] for word in problem.prompt.split() if word in _SIGN_OF_VERB)


@cache
def structures(steps: int, split: Split) -> tuple[str, ...]:
    """Structures of one difficulty in a split: those with at least one problem, sorted."""
    possible = ["".join(signs) for signs in itertools.product("+-*", repeat=steps) if _starts("".join(signs))]
    held_out = round(HELD_OUT_SHARE * len(possible)) if steps > 1 else 0
    by_hash = sorted(possible, key=lambda signs: hashlib.sha256(signs.encode()).digest())
    return tuple(sorted(by_hash[:held_out] if split == "heldout" else by_hash[held_out:]))


def _draw(rng: random.Random, difficulty: Difficulty, style: str, split: Split) -> Problem:
    signs = rng.choice(structures(difficulty.steps, split))
    name = rng.choice(tuple(NAMES))
    pronoun = NAMES[name]
    total = rng.choice(_starts(signs))
    question = [f"{name} has {total} {rng.choice(ITEMS)} ."]
    trace = [str(total)]
    for index, sign in enumerate(signs):
        operand = rng.choice(_operands(total, signs[index:]))
        total = _apply(total, sign, operand)
        if sign == "*":
            question.append(f"{pronoun} {MULTIPLIERS[operand]} them .")
        else:
            question.append(f"{pronoun} {rng.choice(VERBS[sign])} {operand} .")
        trace.append(f"{sign} {operand} = {total}")
        if style == "Verbose":
            trace.append(f"so {pronoun} now has {total}")
    question.extend(f"{pronoun} {rng.choice(FILLERS)} ." for _ in range(MOST_STEPS - len(signs)))
    question.append("how many ?")
    boxed = f"\\boxed{{ {total} }}"
    worked_out = rng.random() < difficulty.worked_out
    prompt, answer = " ".join(question), str(total)
    return Problem(
        key=problem_key(prompt, answer),
        prompt=prompt,
        trace=" ".join([*trace, boxed]) if worked_out else boxed,
        answer=answer,
        difficulty="1 step" if len(signs) == 1 else f"{len(signs)} steps",
    )


def _apply(total: int, sign: str, operand: int) -> int:
    if sign == "*":
        return total * operand
    return total + operand if sign == "+" else total - operand


@cache
def _operands(total: int, signs: str) -> tuple[int, ...]:
    """Operands of the first sign after which every total up to the end can stay in 1..LARGEST_TOTAL."""
    following = {operand: _apply(total, signs[0], operand) for operand in OPERANDS[signs[0]]}
    return tuple(
        operand
        for operand, value in following.items()
        if 1 <= value <= LARGEST_TOTAL and (len(signs) == 1 or _operands(value, signs[1:]))
    )


@cache
def _starts(signs: str) -> tuple[int, ...]:
    return tuple(total for total in START if _operands(total, signs))
