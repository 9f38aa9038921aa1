"""What can be said against a gate, a scenario or a target without starting anything."""
