"""What is kept of decisions, and what of it leaves the machine: segments of traces, and bundles of an incident."""
