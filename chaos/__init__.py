"""Makes trouble for a running system and records what was observed. It decides nothing."""
