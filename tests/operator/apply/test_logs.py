import json
import logging
import sys

from igpo_operator.apply.logs import JsonFormatter, TextFormatter, about

KEY = ("IGPOTraining", "team", "tiny")


def _record(error: bool = False) -> logging.LogRecord:
    if not error:
        return logging.LogRecord("x", logging.INFO, "f", 1, "step %d", (7,), None)
    try:
        raise ValueError("boom")
    except ValueError:
        return logging.LogRecord("x", logging.ERROR, "f", 1, "oh", (), sys.exc_info())


def test_a_line_about_a_run_names_it_and_another_does_not() -> None:
    with about(KEY):
        line = json.loads(JsonFormatter().format(_record()))
        text = TextFormatter().format(_record())
    assert line["message"] == "step 7"
    assert (line["kind"], line["namespace"], line["training"], line["level"]) == (*KEY, "INFO")
    assert text.endswith("INFO [IGPOTraining team/tiny] step 7")
    assert "training" not in json.loads(JsonFormatter().format(_record()))


def test_an_error_brings_its_traceback_in_the_same_line() -> None:
    text = JsonFormatter().format(_record(error=True))
    assert "\n" not in text
    assert "ValueError: boom" in json.loads(text)["error"]
    assert "ValueError: boom" in TextFormatter().format(_record(error=True))
