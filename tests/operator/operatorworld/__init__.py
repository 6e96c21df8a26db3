"""The operator as a process in front of a real API server: what its tests are made of."""
