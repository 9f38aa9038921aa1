"""What the processes behind the gateway have in common: their checks, their application, how it is run."""
