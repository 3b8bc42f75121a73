"""Character devices of the PC: serial ports and debug consoles."""
