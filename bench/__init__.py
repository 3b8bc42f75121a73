"""Benchmarks: one guest under several emulators."""
