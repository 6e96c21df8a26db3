"""Every training field of both kinds, described once. Imports pydantic and a YAML reader, never torch."""
