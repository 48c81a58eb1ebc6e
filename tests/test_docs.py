"""The documents show the figures of the bundled networks, their commands and links exist; files for containers."""

import importlib.util
import re
import tomllib

import pytest
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from benchmarks.app import ROOT
from kdexplorer.analysis.results import build_rows
from kdexplorer.analysis.verdicts import REPEATED, RIGHT, count_inheritance, share_of
from kdexplorer.cli import main
from kdexplorer.datasets.cifar10 import find_human_labels
from kdexplorer.methods import FAMILIES, all_methods
from kdexplorer.notation import format_number, parse_student
from kdexplorer.presets import PRESETS
from kdexplorer.studies.experiments import all_experiments, read
from kdexplorer.studies.report import to_markdown
from kdexplorer.studies.table import bundled_tables, summarize

EXAMPLE_PAGE, EXAMPLE = "adding-a-method.md", "kdexplorer/methods/cosine.py"
"""The method of the example is only in its document; tests/test_adding_a_method.py trains it."""

PAGES = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")))}


def after_marker(page, marker):
    """The text of a page from a marker on, line breaks and spaces as they are."""
    return PAGES[page].split(f"<!-- {marker} -->\n", 1)[1]


def commands(page):
    """The commands in a page's bash blocks, one a line, continued lines joined."""
    return "\n".join(re.findall(r"^```bash\n(.*?)^```", PAGES[page], re.S | re.M)).replace("\\\n", " ").splitlines()


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md"])
def test_relative_links_resolve(page):
    path = ROOT / page if page in ("README.md", "CHANGELOG.md") else ROOT / "docs" / page
    targets = re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8"))
    files = [target.split("#")[0] for target in targets if not re.match(r"https?:|#", target)]
    assert not [target for target in files if not (path.parent / target).exists()]


@pytest.mark.parametrize("page", PAGES)
def test_paths_and_benchmarks_exist(page):
    paths = re.findall(r"`((?:kdexplorer|tests|pages|benchmarks|deploy|studies)/[\w./-]+)`", PAGES[page])
    assert not [path for path in paths if path != EXAMPLE and not (ROOT / path).exists()]
    benchmarks = set(re.findall(r"python -m (benchmarks\.\w+)", PAGES[page]))
    assert not [module for module in benchmarks if importlib.util.find_spec(module) is None]


@pytest.mark.parametrize("page", [page for page in PAGES if "python -m kdexplorer " in "\n".join(commands(page))])
def test_commands_parse(page):
    for line in commands(page):
        if line.startswith("python -m kdexplorer "):
            options = main.build_parser().parse_args(line.split("#")[0].split()[3:])
            for student in getattr(options, "students", None) or []:
                assert ":" not in student or page == EXAMPLE_PAGE or parse_student(student)


def test_the_readme_is_short_and_lists_the_packages():
    assert len(PAGES["README.md"].splitlines()) <= 150
    tree = re.search(r"^kdexplorer/\n(.*?)^\S", PAGES["README.md"], re.S | re.M)[1]
    packages = {path.parent.name for path in ROOT.glob("kdexplorer/*/__init__.py")}
    assert set(re.findall(r"^  (\w+)/ ", tree, re.M)) == packages


def test_the_table_of_methods_is_the_registrys():
    row = re.compile(r"^\| `(\w+)` \| (\w+) \| ([^|]+) \| ([^|]+) \|", re.M)
    found = [one for one in row.findall(PAGES["methods.md"]) if one[1] in FAMILIES]
    expected = []
    for method in all_methods():
        fields = {name: field.default for name, field in method.Settings.model_fields.items() if name != "method"}
        settings = ", ".join(f"{name} {format_number(value)}" for name, value in fields.items())
        expected.append((method.key, method.family, ", ".join(sorted(method.needs)) or "no teacher", settings))
    assert found == expected


@pytest.mark.parametrize("page", ["README.md", "methods.md"])
def test_the_presets(page):
    rows = [row for row in table_rows(PAGES[page]) if row[0] in [f"`{name}`" for name in PRESETS]]
    expected = []
    for name, preset in PRESETS.items():
        terms = {term["method"]: term for term in preset["terms"]}
        kd, at = terms.get("kd", {}), terms.get("at", {})
        values = (preset["ce_weight"], kd.get("weight"), kd.get("temperature"), at.get("weight"))
        expected.append([f"`{name}`", *("" if value is None else f"{value:g}" for value in values)])
    assert rows == expected


@pytest.mark.parametrize("page", ["README.md", "results.md"])
def test_the_results_table_is_what_the_command_prints(page, command):
    assert after_marker(page, "results").split("\n\n")[0] == command("runs", "table").out.strip()


def test_the_claims_are_what_the_command_prints(command):
    printed = command("experiment", "lab-claims", "--show").out.strip().partition("\n\n")[2]  # below the protocol
    assert after_marker("results.md", "claims").startswith(printed + "\n\n")
    bundled = {row[0]: row for row in table_rows(command("runs", "table").out.strip())}
    pair = [row for row in table_rows(printed) if row[0].startswith("resnet")]
    assert [row[0] for row in pair] == ["resnet50", "resnet18-scratch", "resnet18-response", "resnet18-feature"]
    for name, _, _, objective, cross_entropy, accuracy, _ in pair:
        assert bundled[name][3:5] == [objective, cross_entropy]
        assert bundled[name][8].startswith(accuracy)


def test_the_experiments_and_their_verdicts():
    text = " ".join(PAGES["experiments.md"].split())
    listed = table_rows(after_marker("experiments.md", "experiments").split("\n\n")[0])[2:]
    assert listed == [[str(e.order), f"`{e.key}`", e.question, e.describe_cost()] for e in all_experiments()]
    for experiment in all_experiments():
        claims = experiment.judge(read(experiment))
        if len(claims) == 1:
            assert f"**{claims[0].claim}: {claims[0].verdict}.** {claims[0].evidence}" in text


def test_the_experiments_sizes_are_those_declared():
    rows = table_rows(after_marker("experiments.md", "sizes").split("\n\n")[0])[2:]
    assert [row[0] for row in rows] == [f"`{one.key}`" for one in all_experiments()]
    for experiment, (_, _, here) in zip(all_experiments(), rows, strict=True):
        for study in experiment.studies(False).values():
            recipe = study.shared
            numbers = re.findall(r"[\d,]*\d", here)
            assert f"{recipe.train_images:,}" in numbers
            assert str(recipe.epochs) in numbers


def table_rows(text):
    """The cells of a Markdown table's rows."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]


def test_the_texts_have_the_figures_of_the_analysis(bundled):
    """Each is computed in the tests of the analysis a second way; here it is what the documents say."""
    pages = {name: " ".join(text.split()) for name, text in PAGES.items()}
    logits, labels = bundled.logits, bundled.labels
    student, baseline = (
        count_inheritance(logits[name], logits["resnet50"], labels)
        for name in ("resnet18-response", "resnet18-scratch")
    )
    shares = [
        f"{100 * share:.0f} %"
        for one in (student, baseline)
        for share in (share_of(one, "wrong", key) for key in (REPEATED, RIGHT))
    ]
    assert f"wrong class on {shares[0]} and is right on {shares[1]}" in pages["results.md"]
    assert f"on {shares[2]} and {shares[3]}." in pages["results.md"]
    gain = 100 * (share_of(student, "right", RIGHT) - share_of(baseline, "right", RIGHT))
    assert f"{sum(student['wrong'].values())} test images" in pages["results.md"]
    assert f"is right on {gain:.1f} points more" in pages["results.md"]
    rows = {row.name: row for row in build_rows(bundled.entries, logits, labels)}
    difference = rows["resnet8-response"].cross_entropy - rows["resnet8-scratch"].cross_entropy
    scaled = rows["resnet8-response"].scaled_to_scratch_baseline.nats.removeprefix("-")
    assert f"is {difference:.3f} above its scratch baseline's as trained, and {scaled} below" in pages["results.md"]
    sweep = bundled_tables(with_grid=True)["resnet56-resnet8"]
    found = max(one.detectable for entry in summarize(sweep) for one in entry.differences.values())
    assert all(f"{100 * found:.2f} points" in pages[name] for name in ("README.md", "results.md", "studies.md"))


def test_the_human_labels_table_is_what_the_command_prints(command, real_root):
    if find_human_labels() is None:
        pytest.skip("CIFAR-10H is missing: set KDEXPLORER_CIFAR10H")
    assert after_marker("human-labels.md", "human labels").split("\n\n")[0] == command("human-labels").out.strip()


@pytest.mark.parametrize("which", ["", "-controls", "-equal-time"])
def test_the_leagues_tables_are_complete_and_printed_in_the_text(which, command):
    path = ROOT / f"studies/league-resnet8{which}.toml"
    printed = command("study", str(path), "--show").out.strip().split("\n\n- ")[0]
    assert "seeds 0, 1, 2, 3, 4 of 5 declared" in printed
    assert after_marker("results.md", f"league{which}").startswith(printed + "\n")


def test_the_bundled_sweep_is_readable_and_its_figures_are_in_the_text():
    table = bundled_tables(with_grid=True)["resnet56-resnet8"]
    assert after_marker("studies.md", "sweep").startswith(to_markdown(table).strip() + "\n")
    text = " ".join(PAGES["studies.md"].split())
    cells = {one.place: one.values() for one in summarize(table) if one.place}

    def gains(better, worse):  # of each seed, in points
        return [100 * (a - b) for a, b in zip(cells[better], cells[worse], strict=True)]

    hotter = [gains((4.0, weight), (1.0, weight)) for weight in (0.5, 0.7, 0.9)]
    means = [sum(values) / 3 for values in hotter]
    assert "{:.1f}, {:.1f} and {:.1f} points at the three weights".format(*means) in text
    assert f"({min(map(min, hotter)):.1f} to {max(map(max, hotter)):.1f} with each seed)" in text
    heavier = [gain for t in (4.0, 8.0) for gain in gains((t, 0.9), (t, 0.7))]
    assert f"{min(heavier):.1f} to {max(heavier):.1f} with each seed;" in text
    spread = max(max(values) - min(values) for values in cells.values())
    assert f"up to {100 * spread:.1f} points apart" in text


COMPOSE = (ROOT / "compose.yaml").read_text()
PROXY = re.search(r"FORWARDED_ALLOW_IPS: &proxy (\S+)", COMPOSE)[1]


@pytest.mark.parametrize(
    ("sender", "forwarded", "client"),
    [
        (PROXY, "203.0.113.7", "203.0.113.7"),
        (PROXY, "127.0.0.1, 203.0.113.7", "203.0.113.7"),  # the first is what the visitor has sent
        ("172.30.85.130", "127.0.0.1", "172.30.85.130"),  # another container
    ],
)
@pytest.mark.anyio
async def test_a_forged_address_does_not_count_behind_the_proxy(sender, forwarded, client):
    seen = []

    async def application(scope, receive, send):
        seen.append(scope["client"][0])

    scope = {"type": "http", "client": (sender, 1), "headers": [(b"x-forwarded-for", forwarded.encode())]}
    await ProxyHeadersMiddleware(application, PROXY)(scope, None, None)
    assert seen == [client]
    assert "ipv4_address: *proxy" in COMPOSE


def test_streamlit_is_set_to_offer_and_to_ask_nothing_else():
    settings = tomllib.loads((ROOT / ".streamlit/config.toml").read_text())
    assert settings["server"]["enableAgentApi"] is False
    assert settings["browser"]["serverAddress"] == "localhost"
    assert "streamlit>=1.67,<1.68" in (ROOT / "requirements.txt").read_text()
