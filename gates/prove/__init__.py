"""Shows of every gate that it can fail: its defects are applied to a copy, its faults replaced by shams."""
