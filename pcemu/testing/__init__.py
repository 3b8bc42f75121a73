"""Help for tests: of devices without a guest, and of guests."""
