"""Sessions: a conversation's frame."""
