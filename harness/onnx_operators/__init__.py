"""The standard's own operator cases in any runtime."""
