"""The assembly ring: snippets, and the state of the processor expected after them."""
