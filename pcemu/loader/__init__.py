"""Puts guests into machines."""
