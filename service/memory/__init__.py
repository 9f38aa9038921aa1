"""The memory process: remembers texts and finds those that are relevant."""
