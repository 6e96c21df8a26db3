"""Custom rewards, imported by the judge's workers by name."""


def broken(prompt: str, completion: str, answer: str) -> float:
    raise LookupError("no such unit")


def sometimes(prompt: str, completion: str, answer: str) -> float:
    """Fails for about one prompt in eight, whatever the completion."""
    if len(prompt) % 8 == 0:
        raise LookupError("no such unit")
    return 0.25
