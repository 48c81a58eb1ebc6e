"""Every field of a JSON document replaced by odd values, and what a page must not do with them."""

import copy
import functools
import json
import operator
from dataclasses import dataclass, field

HOSTILE = "![x](http://evil.example/x.png) WWW.evil.example a@evil.example :material/home: `<b>` $x$ # |"
MARKS = ("[x](", "WWW.evil", "a@evil", ":material/home", "://evil")
"""What `HOSTILE` would still contain if it were shown as Markdown."""

REMOVED = object()
VALUES = (
    None, True, -1, 0, 3, 0.5, 10**400, 1e300, float("nan"), float("inf"), "", HOSTILE, "x" * 5_000, "../../x",
    [], [None], {}, {"a": 1}, json.loads("[" * 500 + "]" * 500), REMOVED,
)  # fmt: skip


@dataclass(frozen=True)
class Mutation:
    """One field of one document, and its new value."""

    file: str
    place: tuple
    value: object
    document: object = field(compare=False)

    def __str__(self):
        value = "removed" if self.value is REMOVED else f"{self.value!r:.60}"
        return f"{self.file}: {'.'.join(map(str, self.place))} = {value}"

    @property
    def text(self):
        """The document with the field changed, as JSON."""
        changed = copy.deepcopy(self.document)
        *way, last = self.place
        inner = functools.reduce(operator.getitem, way, changed)
        if self.value is REMOVED:
            del inner[last]
        else:
            inner[last] = self.value
        return json.dumps(changed)


def places(document, place=()):
    """Every field of a document at any depth; of a list the first and the last."""
    keys = document if isinstance(document, dict) else {0, len(document) - 1} if isinstance(document, list) else ()
    for key in keys if document else ():
        yield (*place, key)
        yield from places(document[key], (*place, key))


def mutations(documents):
    """All mutations of documents, which are given by the names of their files."""
    return [
        Mutation(file, place, value, document)
        for file, document in documents.items()
        for place in places(document)
        for value in VALUES
    ]


def markdown_texts(at):
    """Everything on a page that Streamlit renders as Markdown."""
    kinds = (at.title, at.header, at.subheader, at.markdown, at.caption, at.info, at.warning, at.error, at.success)
    yield from (str(element.value) for kind in kinds for element in kind)
    yield from (part for one in at.button for part in (one.label, one.help or ""))
    yield from (one.label for one in at.expander)
    yield from (option for one in at.button_group for option in one.options)
    yield from (one.proto.label for one in at.get("page_link"))
    yield from (one.proto.text for one in at.get("progress"))


def check_plain(at):
    """Nothing of `HOSTILE` is on the page as a link, an image, an address or an icon."""
    for text in markdown_texts(at):
        assert not any(mark in text for mark in MARKS), text


def find_culprits(items, look):
    """The items on which `look(items)` fails, by halves."""
    try:
        look(items)
    except Exception as error:
        if len(items) == 1:
            return [f"{items[0]} -> {error!r:.300}"]
        half = len(items) // 2
        alone = find_culprits(items[:half], look) + find_culprits(items[half:], look)
        return alone or [f"{[str(item) for item in items]} together -> {error!r:.300}"]
    return []
