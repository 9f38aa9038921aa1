"""Shows of every gate that it can fail: its defects are applied to a copy, its faults are only pretended."""
