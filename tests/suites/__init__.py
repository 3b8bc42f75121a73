"""Public suites, run beside the tree from a checkout of theirs: nothing of them is kept here. See docs/fidelity.md."""
