"""A small OpenAI-compatible teacher for tests and benchmarks; it misbehaves on demand."""
