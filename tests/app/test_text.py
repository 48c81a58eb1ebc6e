"""Text from outside is shown as it is, where Streamlit reads Markdown."""

import re

import pytest

from kdexplorer.app.layout import as_text


@pytest.mark.parametrize(
    "text", ["resnet20-scratch", "5 % of 10,000 images (test)", "a_b", "T = 4", "2.5 GB", "it's, isn't it?"]
)
def test_ordinary_text_stays(text):
    assert as_text(text) == text


@pytest.mark.parametrize(
    ("text", "raw"),
    [
        ("WWW.evil.example", r"(?i)www\."),
        ("https://evil.example", r"s?://"),
        ("a@evil.example", r"@e"),
        (":material/home: :streamlit: :smile:", r":[a-z]"),
        (":red[text]", r":r|(?<!\\)\["),
        ("![x](y)", r"(?<!\\)[!\[\]]"),
        ("<b>", r"(?<!\\)[<>]"),
        ("$x$ `y` *z* ~~w~~", r"(?<!\\)[$`*~]"),
        ("_x_", r"(?<!\\)_"),
        ("# x\n- y", r"(?<!\\)#|\n"),
        ("- x", r"^-"),
        ("1. x", r"^1"),
        (r"a\[b", r"a\\\\?\["),
    ],
)
def test_nothing_of_it_is_read_as_markdown(text, raw):
    assert re.search(raw, text)
    shown = as_text(text)
    assert not re.search(raw, shown)
    assert re.sub(r"[\\\u2060\s]", "", shown) == re.sub(r"[\\\s]", "", text)
