"""What SONIA is about, a noun each: `records.py` has its Structs and functions on a connection, `routes.py` its handlers."""
