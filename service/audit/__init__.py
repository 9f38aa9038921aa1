"""Who did what: rows chained by HMAC, with checkpoints outside the database."""
