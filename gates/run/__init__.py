"""Running gates: one session of pytest, its workers, locks, progress and interrupts."""
