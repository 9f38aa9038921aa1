"""What the gateway owes to other processes: written with its cause, delivered afterwards, once and in order."""
