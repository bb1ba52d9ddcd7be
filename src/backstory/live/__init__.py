"""Live viewers: what has just been committed, to whoever is looking."""
