"""What every process needs of HTTP: who calls, which role a route asks for, problems, idempotency, pages and routes."""
