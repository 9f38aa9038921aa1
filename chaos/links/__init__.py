"""Links: the proxies between processes, who probes them, and who watches for connections over and past them."""
