"""Helpers around the tree: the virtual environment, guests, initramfs images. Standard library only."""
