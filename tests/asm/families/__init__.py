"""Table-driven cases, one module a family of instructions."""
