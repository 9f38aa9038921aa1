"""The load generator: many requests from a process of their own, recorded as they happen.

It runs apart from the harness (`python -m chaos.load`), so that neither disturbs the other's timing. The
plan comes in as one line of JSON, the evidence goes to files of its own beside the other tables.
"""
