"""Fuzzing: a guest is not trusted. Random programs for the core, random pokes at the board, broken files and options.

Every case is a function of its seed. `python -m fuzz.soak` (from tests/, or `make soak`) runs them for hours; what it finds
becomes a seed in KNOWN of the module, and a test of its own where the cause deserves one.
"""
