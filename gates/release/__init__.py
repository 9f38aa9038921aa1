"""From the verdicts of a run to a release: report, attempts, pins, waivers, manifest and signature."""
