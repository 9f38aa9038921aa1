"""Changes the system under test in one place at a time, at random, and counts which changes no gate notices."""
