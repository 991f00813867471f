"""Outputs kept on one machine and judged on another, by runtimes that wrap others."""
