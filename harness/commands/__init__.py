"""What every command shares: options, one way to run and to end, and streams that may fail."""
