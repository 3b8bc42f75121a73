"""The machine: life, clock, loop, exit reason; and the boards."""
