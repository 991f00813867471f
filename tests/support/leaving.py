"""A module that ends the process when it is imported."""

import sys

print("leaving")
sys.exit(0)
