"""A custom reward, so that judging takes place in the verifier's worker processes and can be hit by a kill."""


def brevity(prompt: str, completion: str, answer: str) -> float:
    """1 for an empty completion, less for every word."""
    del prompt, answer
    return 1.0 / (1 + len(completion.split()))
