"""pcemu: a PC emulator you can read, take apart and script."""

__version__ = "0.1.0"
