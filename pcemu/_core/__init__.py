"""The compiled core: decoder, handlers, memory, blocks and the run loop."""
