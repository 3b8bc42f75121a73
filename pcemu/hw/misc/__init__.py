"""Small board logic and debugging devices."""
