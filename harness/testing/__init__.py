"""The pytest plugin, and ``assert_conforms`` for a user's own tests."""
