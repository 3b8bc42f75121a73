"""Virtio devices (Virtual I/O Device specification 1.2): what they share, the PCI transport, and one device a file."""
