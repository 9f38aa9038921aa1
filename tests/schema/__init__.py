"""What schemathesis asks of a running SONIA by its own description; `nox -s schema` runs it."""
