"""Text from outside is shown as it is, where Streamlit reads Markdown; rules of style know few of its elements."""

import re

import pytest

from kdexplorer.app.layout import as_text
from tests.test_structure import PACKAGE

INTERNAL = re.compile(r"\[data-[a-z]|\.st[A-Z]|st-emotion")
"""What Streamlit calls its elements, which may change with every version; `st-key-` is documented."""


def test_few_selectors_depend_on_streamlits_own_elements():
    rules = re.sub(r"/\*.*?\*/", "", (PACKAGE / "app" / "style.css").read_text(), flags=re.S)
    scripts = "".join(path.read_text() for path in (PACKAGE / "web").glob("*.js"))
    elsewhere = "".join(path.read_text() for path in (PACKAGE / "app").rglob("*.py"))
    assert 0 < len(INTERNAL.findall(rules + scripts)) <= 30
    assert not INTERNAL.search(elsewhere)


def test_ordinary_text_stays():
    for text in ("resnet20-scratch", "5 % of 10,000 images (test)", "a_b", "T = 4", "2.5 GB", "it's, isn't it?"):
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
