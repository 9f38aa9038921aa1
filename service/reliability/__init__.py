"""What keeps SONIA answering under load and outages, and tells afterwards why it answered as it did."""
