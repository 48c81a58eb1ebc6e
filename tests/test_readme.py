"""The README's figures are those of the bundled networks, and its commands exist."""

import re
from pathlib import Path

import pytest

from kdexplorer import checkpoints, cli, data, table

README = Path(__file__).parent.parent.joinpath("README.md").read_text(encoding="utf-8")


def test_the_results_table_is_what_the_command_prints():
    if data.find_cifar10(data.data_root()) is None:
        pytest.skip("the paired tests need the labels of CIFAR-10: set KDEXPLORER_DATA")
    printed = table.markdown(table.rows(checkpoints.listed(Path(__file__).parent.parent / "checkpoints")))
    assert printed in README


def test_the_commands_of_the_readme_parse():
    blocks = "\n".join(re.findall(r"```bash\n(.*?)```", README, re.S)).replace("\\\n", " ")
    commands = [line for line in blocks.splitlines() if line.startswith("python -m kdexplorer")]
    assert commands
    for line in commands:
        words = line.split("#")[0].split()[3:]
        cli.parser().parse_args(words)
