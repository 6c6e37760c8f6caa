"""Which chips are wanted, and where their pixels come from."""
