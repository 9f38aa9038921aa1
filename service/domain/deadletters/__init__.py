"""Dead letters: tasks that were given up."""
