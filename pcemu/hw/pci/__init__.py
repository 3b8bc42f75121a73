"""PCI: the bus, what every device on it has in common, and the 440FX host bridge."""
