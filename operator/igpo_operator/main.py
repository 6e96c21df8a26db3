"""The operator's process: wiring, ordered start and stop."""
