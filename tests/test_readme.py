"""The README's figures are those of the bundled networks, and its commands exist."""

import re
from pathlib import Path

import pytest

from kdexplorer import checkpoints, cli, data, surface, table
from kdexplorer.files import read_json

README = Path(__file__).parent.parent.joinpath("README.md").read_text(encoding="utf-8")


def test_the_results_table_is_what_the_command_prints():
    if data.find_cifar10(data.data_root()) is None:
        pytest.skip("the paired tests need the labels of CIFAR-10: set KDEXPLORER_DATA")
    printed = table.markdown(table.rows(checkpoints.listed(Path(__file__).parent.parent / "checkpoints")))
    assert printed in README


def test_the_bundled_sweep_can_be_drawn_and_is_what_the_readme_says():
    made = read_json(Path(__file__).parent.parent / "sweeps" / "resnet56-resnet8.json")
    assert surface.readable(made)
    assert surface.markdown(made).strip() in README
    assert len(made["students"]) == 39
    found = {(cell["temperature"], cell["response_weight"]): cell["accuracy_values"] for cell in made["cells"]}

    def gains(better, worse):  # of each seed, in points
        return [100 * (a - b) for a, b in zip(found[better], found[worse], strict=True)]

    hotter = [gains((4.0, weight), (1.0, weight)) for weight in (0.5, 0.7, 0.9)]
    means = [sum(values) / 3 for values in hotter]
    assert "{:.1f}, {:.1f} and {:.1f} points at the\nthree weights".format(*means) in README
    assert f"({min(map(min, hotter)):.1f} to {max(map(max, hotter)):.1f} with each seed)" in README
    heavier = [gain for t in (4.0, 8.0) for gain in gains((t, 0.9), (t, 0.7))]
    assert f"{min(heavier):.1f} to {max(heavier):.1f} with each seed;" in README
    spread = max(max(values) - min(values) for values in found.values())
    assert f"up to {100 * spread:.1f} points\napart" in README


def test_the_commands_of_the_readme_parse():
    blocks = "\n".join(re.findall(r"```bash\n(.*?)```", README, re.S)).replace("\\\n", " ")
    commands = [line for line in blocks.splitlines() if line.startswith("python -m kdexplorer")]
    assert commands
    for line in commands:
        words = line.split("#")[0].split()[3:]
        cli.parser().parse_args(words)


def test_the_labs_pair_has_its_cards_figures():
    """The lab's loss and accuracy stand first in each row, then what the card says."""
    cards = {c.name: c.card for c in checkpoints.listed(Path(__file__).parent.parent / "checkpoints")}
    number = r"([\d.]+)"
    row = rf"^\| (resnet\S+) \| {number} \| {number} % \| {number} \| {number} \| {number} % "
    rows = re.findall(row, README, re.M)
    assert [row[0] for row in rows] == ["resnet50", "resnet18-scratch", "resnet18-response", "resnet18-feature"]
    for name, _, _, objective, cross_entropy, accuracy in rows:
        card = cards[name]
        assert f"{card['test_objective']:.3f}" == objective
        assert f"{card['test_cross_entropy']:.3f}" == cross_entropy
        assert f"{100 * card['test_accuracy']:.2f}" == accuracy
