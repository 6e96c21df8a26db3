"""Completions judged in a thread of their own, while the sampler goes on with the rest."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from transformers import PreTrainedTokenizerBase

from igpo_trainer.data.problem import EncodedProblem
from igpo_trainer.diffusion.canvas import Completion
from igpo_trainer.rewards.judge import Judge
from igpo_trainer.rewards.score import Score
from igpo_trainer.rewards.verdict import JudgeTask


class Judging:
    """The scores of one batch of completions; a context manager, left only when nothing is being judged any more.

    The thread waits for verifier processes most of the time. It is one, so that the judge has one user; a score depends
    on its completion alone, so that the order in which completions arrive changes none. Until the end the tokenizer
    belongs to the thread too.
    """

    def __init__(self, judge: Judge, tokenizer: PreTrainedTokenizerBase, problems: Sequence[EncodedProblem]) -> None:
        self._judge = judge
        self._tokenizer = tokenizer
        self._problems = problems
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="judge")
        self._parts: list[Future[dict[int, Score]]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)

    def add(self, completions: Mapping[int, Completion]) -> None:
        """Have completions judged, by the index of their problem; raises what judging earlier ones has raised."""
        for part in self._parts:
            if part.done():
                part.result()
        self._parts.append(self._thread.submit(self._score, completions))

    def scores(self) -> dict[int, Score]:
        """Wait for all scores, by the index of their problem; raises what judging raised."""
        return {index: score for part in self._parts for index, score in part.result().items()}

    def _score(self, completions: Mapping[int, Completion]) -> dict[int, Score]:
        ids = [list(c.ids[: c.length]) for c in completions.values()]
        texts = self._tokenizer.batch_decode(ids, skip_special_tokens=True)
        problems = [self._problems[index].problem for index in completions]
        tasks = [JudgeTask(problem.prompt, text, problem.answer) for problem, text in zip(problems, texts, strict=True)]
        return dict(zip(completions, self._judge.score(tasks), strict=True))
