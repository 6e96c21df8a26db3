"""Kubernetes objects as plain dicts, from a run and its attempt. Pure functions."""
