"""What several tests share; not a test."""
