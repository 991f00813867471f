"""A family of models that cannot be exported exactly, as a user may bring one."""
