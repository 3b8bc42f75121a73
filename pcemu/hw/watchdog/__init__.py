"""Watchdogs: timers that act when the guest does not say that it lives."""
