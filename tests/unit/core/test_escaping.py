"""What comes from a file is shown as text, whatever reads the lines."""

import re

import pytest

from harness.core import escaping

HOSTILE = [
    "a\nb",
    "\x1b[2Kpass",
    "::error file=x::y",
    " \t::stop-commands::",
    "##[error]y",
    "x ##vso[task.complete]",
    "<script>",
    "]]>",
    "\udc80",
    "a\u202eb",
    "\ufffe",
    "a|b",
    "`` ` ```",
    "*_a_*[b](c)\\",
    "&lt;",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_line_is_one_line_that_no_reader_obeys(text):
    for shown in (escaping.line(text), escaping.line(f"  {text}")):
        assert shown.isprintable()
        assert not shown.lstrip().startswith("::")
        assert not re.search(r"##\w*\[", shown)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("gru_tagger/torch 1.5e-07", "gru_tagger/torch 1.5e-07"),
        ("_a b_ c_d", r"\_a b\_ c_d"),
        ("<b>&|", r"&lt;b&gt;&amp;\|"),
        ("`a` [b] *c*", r"\`a\` \[b\] \*c\*"),
        ("a\n\\", r"a\\n\\"),
        ("\udc80\u202e", r"\\udc80\\u202e"),
    ],
)
def test_markdown_shows_text_as_it_is(text, shown):
    assert escaping.markdown(text) == shown


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("a", "`a`"),
        ("", ""),
        ("a`b", "``a`b``"),
        ("`a", "`` `a ``"),
        ("a``b```", "```` a``b``` ````"),
        ("a\nb|", r"`a\nb|`"),
    ],
)
def test_a_code_span_ends_where_it_should(text, span):
    assert escaping.code(text) == span
    assert escaping.table_code(text) == span.replace("|", r"\|")


def test_no_line_ends_a_block():
    assert escaping.block("a\n````\nb", "text") == "`````text\na\n````\nb\n`````"
    assert escaping.block("a") == "```\na\n```"
