"""The application's rules of style: in one file; they and its scripts have few names of Streamlit's own."""

import re

from tests.test_structure import PACKAGE

INTERNAL = re.compile(r"\[data-[a-z]|\.st[A-Z]|st-emotion")
"""What Streamlit calls its elements, which may change with every version; `st-key-` is documented."""


def test_few_selectors_depend_on_streamlits_own_elements():
    rules = re.sub(r"/\*.*?\*/", "", (PACKAGE / "app" / "style.css").read_text(), flags=re.S)
    scripts = "".join(path.read_text() for path in (PACKAGE / "web").glob("*.js"))
    elsewhere = "".join(path.read_text() for path in (PACKAGE / "app").rglob("*.py"))
    assert 0 < len(INTERNAL.findall(rules + scripts)) <= 30
    assert not INTERNAL.search(elsewhere)
