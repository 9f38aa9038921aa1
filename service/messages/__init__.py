"""What the processes of SONIA say to each other: each reads it from here, and none from another process."""
