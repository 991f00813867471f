"""The golden store, inputs as formulas, and the noise floor."""
