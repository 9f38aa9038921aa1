"""What is remembered, as callers ask for it."""
