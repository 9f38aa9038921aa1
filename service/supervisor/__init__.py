"""The other processes as children of the gateway: started in order, watched, and replaced within a budget."""
