"""Logs, traces and debuggers."""
