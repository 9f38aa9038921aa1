"""What a gate and a release are written as."""
