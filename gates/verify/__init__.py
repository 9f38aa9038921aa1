"""A release that was made: whether its verdict follows from its files, and how it differs from another."""
