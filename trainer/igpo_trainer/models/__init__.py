"""Networks and weights: bidirectional language models seen as p(token | canvas)."""
