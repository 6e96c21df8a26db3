"""Networks, their weights and their tokenizers."""
