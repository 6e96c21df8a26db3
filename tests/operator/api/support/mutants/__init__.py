"""Random manifests for the real API server: good ones, and ones that a named mutator broke."""
