"""What is recorded while a gate runs: its columns, its writer and its sealing."""
