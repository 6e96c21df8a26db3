"""Seeing a run: typed records, the journal, /metrics and /status, the terminal, the report and the summary."""
