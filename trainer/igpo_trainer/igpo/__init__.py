"""IGPO itself: hints, rescue, advantages and the objective. Pure functions; no files, no clocks."""
