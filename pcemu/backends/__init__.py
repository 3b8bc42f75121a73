"""Objects of -object that stand behind devices."""
