"""A tiny model of a cluster for planner tests: pods, faults, a clock, and an operator that may crash anywhere."""
