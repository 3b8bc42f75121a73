"""Fuzzing: a guest is not trusted. Random programs for the core, random pokes at the board, broken files and options.

Every case is a function of its seed. `python -m fuzz.soak` (from tests/) runs them for hours, `make soak` for minutes; what they
find becomes a test of its own, in test_found.py or with the tests of the device.
"""
