"""Reports: one file each, from the same ``harness.schema.Report``."""
