"""Ways to reach faults below the network without any switch in the system under test."""
