from harness.core.errors import flattened


def test_a_text_is_one_line_without_colours_and_not_too_long():
    assert flattened("\x1b[1mfirst\x1b[0m\n\n  second\tthird \n") == "first second third"
    assert flattened("a\n" * 400, 9) == "a a a a …"
    assert flattened("") == ""
