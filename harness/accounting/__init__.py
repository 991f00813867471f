"""Every weight of a framework's model, found to the bit in the constants of its export."""
