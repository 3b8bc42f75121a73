"""Non-volatile memory and what hands data to firmware."""
