"""The application's rules of style: in one file; they and its scripts have few names of Streamlit's own."""

import re

from kdexplorer.figures import all_figures
from tests.test_structure import PACKAGE, ROOT

STYLE = (PACKAGE / "app" / "style.css").read_text()
INTERNAL = re.compile(r"\[data-[a-z]|\.st[A-Z]|st-emotion")
"""What Streamlit calls its elements, which may change with every version; `st-key-` is documented."""


def test_few_selectors_depend_on_streamlits_own_elements():
    rules = re.sub(r"/\*.*?\*/", "", STYLE, flags=re.S)
    scripts = "".join(path.read_text() for path in (PACKAGE / "web").glob("*.js"))
    elsewhere = "".join(path.read_text() for path in (PACKAGE / "app").rglob("*.py"))
    assert 0 < len(INTERNAL.findall(rules + scripts)) <= 30
    assert not INTERNAL.search(elsewhere)


def test_every_key_in_the_rules_is_drawn():
    files = [*(PACKAGE / "app").rglob("*.py"), PACKAGE / "figures.py", *(ROOT / "pages").glob("*.py")]
    code = "".join(path.read_text() for path in files)
    drawn = {
        *re.findall(r'\bkey ?= ?(?:None if \w+ else )?f?"([a-zA-Z_]+)', code),
        *re.findall(r'(?:pick_[a-z]+|choose_[a-z]+|Choice)\(\s*"([a-z_]+)"', code),
    }
    drawn |= {f"pick_{name}" for name in ("Previous", "Next", "Random")}
    drawn |= {f"chart_{name}" for name in all_figures()}
    missing = {name for name in re.findall(r"st-key-([a-zA-Z_]+)", STYLE) if not {name, f"{name}_"} & drawn}
    assert missing <= {"NAME"}
