"""Incidents: bundles of what was decided."""
