"""What comparisons of training arms share: jobs, carrying them out, measurements, charts and tables."""
