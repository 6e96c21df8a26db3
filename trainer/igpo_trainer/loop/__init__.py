"""The training loops and what they own: processes, checkpoints, the run folder and its clock."""
