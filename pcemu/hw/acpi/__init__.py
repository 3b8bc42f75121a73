"""Power management: the PIIX4's ACPI function and its SMBus."""
