"""A tag for every step that depends on what came before it and on what comes after."""
