"""Masked supervised fine-tuning: examples and the weighted cross-entropy. Pure functions."""
