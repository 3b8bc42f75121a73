"""The ISA bus and its bridge."""
