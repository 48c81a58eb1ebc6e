"""Ray: what comes back is kept once, whatever is lost on the way."""

import json
import sys
import threading

import pytest

from kdexplorer import cluster, runs, sweep
from kdexplorer.errors import ConfigError


@pytest.fixture(scope="session")
def teacher(make_checkpoint, tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("teachers") / "teacher", seed=9)


def configured(teacher, **grid):
    recipe = {
        "dataset": "synthetic", "teacher": str(teacher.path), "epochs": 3, "batch_size": 50, "train_images": 200,
        "learning_rate": 0.05, "precision": "float32", "device": "cpu", "threads": 1,
    }  # fmt: skip
    return sweep.configure("resnet8", recipe, temperatures=[2.0], response_weights=[0.7], **grid)


@pytest.fixture
def run(teacher):
    made = sweep.create(configured(teacher, seeds=1, students_per_experiment=64))
    return sweep.prepare(made)[0]


def played(messages):
    """A task's messages, folder by folder: the last state of each file."""
    where, *files = messages
    kept = {}
    for some in files:
        kept |= some
    return where, kept


def test_a_task_trains_in_a_folder_of_its_own_and_sends_what_changed(tiny, run, teacher, monkeypatch):
    monkeypatch.setattr(cluster, "LOOK", 0.05)
    teaching = cluster._teacher(run.config())
    before = cluster.contents(run.path)
    messages = list(cluster.work(run.run_id, before, teaching, 1))
    _, kept = played(messages)
    assert cluster.contents(run.path) == before  # nothing was written here
    assert json.loads(kept["status.json"])["state"] == "finished"
    assert {f"{s.name}/card.json" for s in run.config().students} <= kept.keys()
    assert "config.json" not in kept  # the driver's own names the teacher by its place here
    states = [message["state.pt"] for message in messages[1:] if "state.pt" in message]
    assert len(states) == len(set(states)) > 0  # each state is sent once
    # From the first state that came back, another machine goes on to the same figures.
    again = before | {"state.pt": states[0], "metrics.jsonl": kept["metrics.jsonl"]}
    _, resumed = played(cluster.work(run.run_id, again, teaching, 1))

    def figures(files):
        rows = [json.loads(line) for line in files["metrics.jsonl"].splitlines()]
        return [{key: row[key] for key in ("epoch", "student", "train", "test")} for row in rows]

    assert figures(resumed) == figures(kept)


def test_what_comes_back_becomes_a_run_folder_of_this_process(run):
    given = cluster._Given(run, with_gpus=False)
    status = {"state": "running", "message": "training", "pid": 1, "pid_started": 1.0, "boot": "another machine's"}
    status |= {"epoch": 1, "step": 2}
    given._keep({"status.json": json.dumps(status).encode(), "state.pt": b"s", "a/card.json": b"{}", "a/w": b"w"})
    assert (run.path / "a" / "w").read_bytes() == b"w"
    now = run.status()
    assert (now["state"], now["epoch"], now["step"]) == ("running", 1, 2)  # alive: its keeper is
    assert now["pid"] != 1


def test_without_ray_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match="pip install 'ray"):
        cluster._connected("auto")


def test_the_application_needs_no_ray():
    import subprocess

    code = "import sys, kdexplorer.ui.sweeps; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "kdexplorer.sweep" in loaded
    assert "ray" not in loaded


@pytest.mark.slow
def test_two_nodes_and_one_that_is_killed_finish_every_experiment_once(teacher):
    pytest.importorskip("ray", reason="needs Ray: pip install 'ray>=2.40,<3'")
    from ray.cluster_utils import Cluster

    made = sweep.create(configured(teacher, seeds=1, students_per_experiment=1))  # three experiments of one student
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    doomed = nodes.add_node(num_cpus=1)
    nodes.add_node(num_cpus=1)

    def kill() -> None:
        while not over.wait(0.2):
            if any("epoch" in (run.status() if run.path.exists() else {}) for run in made.runs()):
                nodes.remove_node(doomed, allow_graceful=False)
                return

    over = threading.Event()
    killer = threading.Thread(target=kill)
    killer.start()
    try:
        assert sweep.execute(made, nodes.address) == "finished"
    finally:
        over.set()
        killer.join()
        nodes.shutdown()
    log = (made.path / "log.txt").read_text()
    assert log.count("was lost") >= 1
    for run in made.runs():
        assert log.count(f"{run.run_id} finished") == 1
        assert [row["epoch"] for row in run.metrics()] == [0, 1, 2]
        assert len(runs.students(run)) == 1
    assert made.status()["finished"] == 3
    assert len(made.table()["students"]) == 3
