"""The teacher: one request to an OpenAI-compatible endpoint, and what its failures mean for the run."""

import json
import re
from types import TracebackType
from typing import Final, Self

import openai
from openai.types.chat import ChatCompletion

from igpo_trainer.rewrite.answers import Answer
from igpo_trainer.rewrite.assignment import Assignment, Request
from igpo_trainer.rewrite.patience import TransientError, retry_after
from igpo_trainer.spec.contract import TEACHER_API_KEY_VARIABLE
from igpo_trainer.spec.errors import InvalidRunError, RunError

_NO_KEY: Final = "none"
"""Sent where the endpoint needs no key: the client insists on one."""
_LONGEST_DETAIL: Final = 300
_REFUSING_KEY: Final = (401, 403)
_BUSY: Final = (408, 409, 425, 429)
_OUT_OF_CREDIT: Final = "insufficient_quota"


class RefusedError(Exception):
    """The teacher will not answer this request, however often it is asked."""


def check_address(base_url: str) -> None:
    """Raise InvalidRunError for a base URL that no request can be sent to, or that holds a secret."""
    if not re.match(r"https?://[^/\s]+", base_url):
        raise InvalidRunError(
            f"spec.rewrite.teacher.baseUrl {base_url!r} is no web address; give one such as https://host/v1"
        )
    if "@" in base_url.split("://", 1)[1].partition("/")[0]:
        raise InvalidRunError(
            "spec.rewrite.teacher.baseUrl holds a user name or password, which manifests must not; "
            f"give the key by apiKeySecretRef, at a desk by {TEACHER_API_KEY_VARIABLE}"
        )


class Teacher:
    """Asks one endpoint. An async context manager for one event loop.

    The client's own retries are off: it gives up on a Retry-After beyond two minutes, does not repeat an answer whose
    JSON is cut off, and tells nobody that it repeats. `Patience` does, by tenacity.
    """

    def __init__(self, assignment: Assignment, api_key: str | None, timeout_seconds: float) -> None:
        self._assignment = assignment
        self._key = api_key
        self._client = openai.AsyncOpenAI(
            base_url=assignment.base_url, api_key=api_key or _NO_KEY, max_retries=0, timeout=timeout_seconds
        )

    async def ask(self, request: Request) -> Answer:
        """Send one request once.

        Raises:
            TransientError: the same request may be answered later.
            RefusedError: not this request.
            RunError: no request at all; InvalidRunError when the manifest or the key is to blame.

        """
        assignment = self._assignment
        try:
            completion = await self._client.chat.completions.create(
                model=assignment.model,
                messages=[{"role": "user", "content": request.text}],
                max_tokens=assignment.max_tokens,
                temperature=openai.omit if assignment.temperature is None else assignment.temperature,
            )
        except openai.APIStatusError as error:
            raise self._meaning(error) from None  # not chained: it holds the request, and with that the key
        except openai.APITimeoutError:
            raise TransientError("no answer in time", may_have_cost=True) from None
        except openai.APIConnectionError as error:
            raise TransientError(self._clean(error.__cause__ or error)) from None
        except (openai.APIError, json.JSONDecodeError, UnicodeDecodeError) as error:
            raise TransientError(f"unreadable answer: {self._clean(error)}", may_have_cost=True) from None
        return self._answer(request, completion)

    def _answer(self, request: Request, completion: object) -> Answer:
        """Read an answer. The client checks no types: what is not as the API says is as good as cut off."""
        if not isinstance(completion, ChatCompletion) or not completion.choices:
            raise TransientError("unreadable answer: no choices", may_have_cost=True)
        choice, usage = completion.choices[0], completion.usage
        if choice.message is None:
            raise TransientError("unreadable answer: no message", may_have_cost=True)
        return Answer(
            key=request.key,
            text=choice.message.content or "",
            finish=choice.finish_reason or "",
            prompt_tokens=request.most_tokens if usage is None else usage.prompt_tokens,
            completion_tokens=self._assignment.max_tokens if usage is None else usage.completion_tokens,
        )

    def _meaning(self, error: openai.APIStatusError) -> Exception:
        status = error.status_code
        detail = self._clean(error).removeprefix(f"Error code: {status} - ")
        where = f"the teacher at {self._assignment.base_url}"
        if status in _REFUSING_KEY:
            key = f"the key in {TEACHER_API_KEY_VARIABLE}" if self._key else "a request without a key"
            return InvalidRunError(
                f"{where} refuses {key} ({status}: {detail}); correct {TEACHER_API_KEY_VARIABLE}, on a cluster the "
                "Secret that rewrite.teacher.apiKeySecretRef names, and start again: no answer is lost"
            )
        if status == 404:
            return InvalidRunError(
                f"{where} knows no model {self._assignment.model!r} or no chat completions ({status}: {detail}); "
                "correct rewrite.teacher.model or baseUrl"
            )
        if status == 402 or error.code == _OUT_OF_CREDIT:
            return RunError(f"{where} is out of credit ({status}: {detail}); top it up and start again")
        if status in _BUSY or status >= 500:
            return TransientError(f"{status}: {detail}", wait_seconds=retry_after(error.response.headers))
        return RefusedError(f"{status}: {detail}")

    def _clean(self, error: BaseException) -> str:
        """An error's text in one line, short, and without the key, which some endpoints repeat."""
        text = " ".join(str(error).split()) or type(error).__name__
        if self._key:
            text = text.replace(self._key, "***")
        return text[:_LONGEST_DETAIL]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.close()
