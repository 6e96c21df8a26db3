"""What to do next: `plan(observed) -> Plan`, a pure function of what is seen and of what status says."""
