"""Checkpoints that are changed behind the card's back, with or without the card's hash."""

import hashlib
import json

import safetensors.torch


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


def edit_weights(checkpoint, change, matching=True):
    """Rewrites the weights after `change(state)`; with `matching` the card has their hash."""
    state = safetensors.torch.load_file(checkpoint.path / "weights.safetensors")
    change(state)
    replace_weights(checkpoint, safetensors.torch.save(state), matching)


def replace_weights(checkpoint, data, matching=True):
    (checkpoint.path / "weights.safetensors").write_bytes(data)
    if matching:
        edit_card(checkpoint, sha256=hashlib.sha256(data).hexdigest())
