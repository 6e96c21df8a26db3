"""Verdicts on completions: right, wrong or unjudged, by killable worker processes. Never imports torch."""
