"""The judge: a verdict is a pure function of a gate's snapshot and its evidence.

Nothing in here can reach a live system: of `chaos` it imports only the columns of the evidence.
"""
