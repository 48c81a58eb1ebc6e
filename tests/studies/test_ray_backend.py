"""Ray: what is received is stored once, whatever is lost on the way."""

import json
import sys
import threading
from types import SimpleNamespace

import pytest

from kdexplorer.errors import ConfigError, RunError, TrainingError
from kdexplorer.runs.run_folder import finished_students
from kdexplorer.studies import driver, ray_backend
from kdexplorer.studies.collect import ATTEMPTS
from kdexplorer.studies.folder import StudyConfig, left_to_train, open_study, prepare
from kdexplorer.studies.study import make_grid_study


@pytest.fixture
def config(recipe):
    """A run of two students."""
    longer = {"epochs": 3, "train_images": 40, "learning_rate": 0.05, "threads": 1}
    return StudyConfig(study=make_grid_study("resnet8", recipe | longer, 1, temperatures=[4.0], weights=[0.7]))


@pytest.fixture
def study(config):
    prepare(study := open_study(config), left_to_train(config))
    return study


def collect(messages):
    """The last content of each file among a task's messages, of which the first names the machine."""
    return {name: content for some in list(messages)[1:] for name, content in some.items()}


def test_a_task_trains_in_a_folder_of_its_own_and_sends_what_changed(tiny, study, monkeypatch):
    monkeypatch.setattr(ray_backend, "POLL", 0.05)
    (run,) = study.runs()
    teacher = ray_backend.read_teacher(run.config())
    before = ray_backend.read_files(run.path, {})
    kept = collect(messages := list(ray_backend.train_remotely(run.run_id, before, teacher, 1)))
    assert ray_backend.read_files(run.path, {}) == before  # nothing was written here
    assert json.loads(kept["status.json"])["state"] == "finished"
    assert {f"{student.name}/card.json" for student in run.config().students} <= kept.keys()
    assert "config.json" not in kept  # the driver's own names the teacher by its place on this machine
    states = [message["state.pt"] for message in messages[1:] if "state.pt" in message]
    assert len(states) == len(set(states)) > 0  # each state is sent once
    # From the first state that was received, another machine continues to the same figures.
    again = before | {"state.pt": states[0], "metrics.jsonl": kept["metrics.jsonl"]}
    resumed = collect(ray_backend.train_remotely(run.run_id, again, teacher, 1))

    def figures(files):
        rows = map(json.loads, files["metrics.jsonl"].splitlines())
        return [{key: row[key] for key in ("epoch", "student", "train", "test")} for row in rows]

    assert figures(resumed) == figures(kept)


class FakeRay:
    """As much of Ray as a study uses; a run's machine reports one of these steps, then it is lost, or its task ends."""

    exceptions = SimpleNamespace(RayError=OSError, RayTaskError=KeyError)
    cluster_resources, shutdown = dict, dict
    wait, get = staticmethod(lambda tasks, **options: (tasks, [])), staticmethod(lambda message: message)

    def __init__(self, steps, lost):
        self.steps, self.lost, self.submitted = steps, lost, 0

    def remote(self, **options):
        return lambda function: SimpleNamespace(remote=self.work)

    def work(self, *arguments):
        step = self.steps[min(self.submitted, len(self.steps) - 1)]
        self.submitted += 1
        yield "node"
        status = {"state": "running", "message": "training", "epoch": 0, "step": step}
        yield {"status.json": json.dumps(status).encode()}
        if self.lost:
            raise self.exceptions.RayError


@pytest.mark.parametrize(("lost", "starts", "said"), [(True, 3 + ATTEMPTS, "was lost"), (False, 1, "without saying")])
def test_a_run_is_submitted_again_while_it_gets_further(study, monkeypatch, lost, starts, said):
    (run,), ray = study.runs(), FakeRay([1, 2, 3], lost)
    monkeypatch.setattr(ray_backend, "_connect", lambda address: ray)
    with pytest.raises(TrainingError, match=said):
        driver.execute(study, "auto")
    assert ray.submitted == starts
    found = {"state": "failed", "step": min(starts, 3), "machine": "node"}
    assert run.status().model_dump(include=set(found)) == found
    begun = SimpleNamespace(students=[SimpleNamespace(name="one", initial="run/one")])
    with pytest.raises(RunError, match="without --ray"):
        ray_backend._RemoteRun(SimpleNamespace(is_locked=bool, config=lambda: begun), False)


def test_without_ray_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match="pip install 'ray"):
        ray_backend._connect("auto")


@pytest.mark.slow
def test_two_nodes_and_one_that_is_killed_finish_every_run_once(config):
    pytest.importorskip("ray", reason="needs Ray: pip install 'ray>=2.40,<3'")
    from ray.cluster_utils import Cluster

    study = open_study(config.model_copy(update={"students_per_run": 1}))  # two runs of one student
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    doomed = nodes.add_node(num_cpus=1)
    nodes.add_node(num_cpus=1)

    def kill() -> None:
        while not over.wait(0.2):
            if any(run.status().epoch is not None for run in study.runs()):
                nodes.remove_node(doomed, allow_graceful=False)
                return

    over = threading.Event()
    killer = threading.Thread(target=kill)
    killer.start()
    try:
        assert driver.execute(study, nodes.address) == "finished"
    finally:
        over.set()
        killer.join()
        nodes.shutdown()
    log = (study.path / "log.txt").read_text()
    assert log.count("was lost") >= 1
    for run in study.runs():
        assert log.count(f"{run.run_id} finished") == 1
        assert [row.epoch for row in run.metrics()] == [0, 1, 2]
        assert len(finished_students(run)) == 1
    assert study.status().finished == len(study.table().rows) == 2
