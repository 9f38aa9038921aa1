"""Measures the harness against its peers: ratios from one run on one machine, never absolutes."""
