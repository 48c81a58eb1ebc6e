"""The page Experiments with and without results, its link, and who may start one."""

from unittest.mock import Mock

import pytest

from kdexplorer.app import experiments
from kdexplorer.app.layout import as_text
from kdexplorer.errors import RunError
from kdexplorer.runs import launch
from kdexplorer.studies.experiments import all_experiments, get_experiment, table_path
from kdexplorer.studies.experiments.base import Results
from kdexplorer.studies.folder import experiment_folder
from kdexplorer.studies.table import write_table
from tests.pages.reading import button, specs, text
from tests.studies.sample import first, make_measured, make_results
from tests.studies.test_verdicts import known

KNOWN = {experiment.key: known(experiment) for experiment in all_experiments()}
"""Read while the bundled tables are there."""


def store(experiment, results, small=False):
    for name, table in results.tables.items():
        write_table(table, table_path(experiment.key, name, small))


@pytest.mark.parametrize("experiment", all_experiments(), ids=lambda experiment: experiment.key)
def test_a_measured_experiment_has_a_verdict_and_one_chart(own, open_page, experiment):
    results = KNOWN[experiment.key]
    store(experiment, results)
    at = open_page("experiments", experiment=experiment.key)
    assert len(specs(at)) == 1
    for claim in experiment.judge(results):
        assert f"{claim.verdict}]\n**{as_text(claim.claim)}**" in text(at)
    assert experiment.details(results) in text(at)
    assert experiment.question in text(at)
    assert "Estimate the time" not in [one.label for one in at.button]  # it is trained already
    assert not [*at.info, *at.error]


def test_what_is_not_measured_says_what_it_costs_and_the_command_until_there_is_a_small_result(own, open_page):
    at = open_page("experiments", experiment="alchemy")
    assert "alchemy" in at.warning[0].value
    first = all_experiments()[0]
    assert "Not measured yet. It trains 6 students" in at.info[0].value
    assert f"python -m kdexplorer experiment {first.key}" in at.code[0].value
    assert specs(at) == []
    assert first.question in text(at)
    experiment = get_experiment("dark-knowledge")
    table = known(experiment).tables["students"]
    study = table.study.model_copy(update={"seeds": [7]})  # of another declaration
    store(experiment, Results({"students": table.model_copy(update={"study": study})}))
    at = open_page("experiments", experiment=experiment.key)
    assert "students.json is left out" in at.warning[0].value
    assert "Not measured yet" in text(at)
    assert specs(at) == []
    store(experiment, make_results(experiment, lambda part, entry: 0.7, small=True), small=True)
    at = open_page("experiments", experiment=experiment.key)
    assert len(specs(at)) == 1
    assert "gives no verdict" in text(at)
    assert "cannot be decided" not in text(at)


def test_the_presenter_starts_and_stops_one(own, open_page, monkeypatch, runs_root):
    started = []
    monkeypatch.setattr(launch, "start_run", lambda run: (started.append(run.run_id), run.write_status("running")))
    at = open_page("experiments", experiment="fidelity")
    assert "Estimate the time" not in [one.label for one in at.button]  # it trains nothing
    button(at, "Run the small variant").click().run()
    assert started == ["fidelity-small"]
    run = experiment_folder("fidelity", small=True)
    assert run.config().experiment == "fidelity"
    run.write_status("running", "3 measured")
    at.run()
    assert "3 measured" in text(at)
    run.write_status("failed", "no luck")
    at.run()
    assert "no luck" in text(at)


def test_the_presenter_estimates_the_time(own, open_page, monkeypatch):
    estimate = Mock(**{"poll.return_value": None, "describe.return_value": "Timing part 1 of 2"})
    monkeypatch.setattr(experiments, "measure_left", lambda left: estimate)
    at = open_page("experiments", experiment="dark-knowledge")
    button(at, "Estimate the time").click().run()
    assert "Timing part 1 of 2" in text(at)
    estimate.poll.return_value = [1000.0, 500.0]
    at.run()
    assert "takes about 25 min on this machine" in text(at)
    estimate.cancel.assert_not_called()
    at.selectbox(key="experiment").set_value("few-labels").run()
    estimate.cancel.assert_called()
    estimate.poll.side_effect = RunError("The time could not be estimated: no luck.")
    button(at, "Estimate the time").click().run()
    assert "no luck" in text(at)
    assert button(at, "Estimate the time")


def test_a_visitor_sees_results_and_starts_nothing(own, open_page, monkeypatch):
    started = []
    monkeypatch.setattr(launch, "start_run", started.append)
    store(get_experiment("fidelity"), make_measured([("bundled", "resnet8-a", "kd", first(800), first(900))]))
    at = open_page("experiments", experiment="fidelity")
    monkeypatch.setenv("KDEXPLORER_PRESENTER_TOKEN", "a long enough token")
    button(at, "Run it in full").click().run()  # a page that was shown while there was no token
    assert started == []
    assert not [one for one in at.button if one.label.startswith(("Run", "Estimate"))]
    assert "only the presenter" in text(at)
