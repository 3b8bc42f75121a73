"""The chips, one a file, by the bus or the job they are on."""
