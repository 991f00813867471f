"""Outputs kept on one machine to be judged on another."""
