"""What is forged: a pickle that would run, and a card."""

import json


class Marker:
    """Unpickled, it leaves a file, as code that runs would."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def edit_card(checkpoint, **changes):
    """Changes fields of the card; `...` removes one."""
    path = checkpoint.path / "card.json"
    card = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in card.items() if value is not ...}))
