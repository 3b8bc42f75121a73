"""DMA controllers."""
