"""The audit log and the list of events, as callers read them."""
