"""What the benchmarks of speed share: shapes, networks, the plain recipe, clocks and the page of results."""
