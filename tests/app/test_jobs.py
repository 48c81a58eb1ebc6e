"""Work that visitors start: one step at a time in the whole server, fairly."""

import contextlib
import threading

import pytest

from kdexplorer.app.server import jobs, shares


@pytest.fixture
def queue(monkeypatch):
    monkeypatch.setattr(jobs, "is_training", lambda: False)
    return jobs.Queue()


def start(queue, done, name, guest=None, key=None, waiting=None):
    """A job in a thread of its own; returns the thread once the job is queued."""
    queued = threading.Event()

    def say(before):
        if waiting is not None:
            waiting.append(before)
        queued.set()

    def work():
        with queue.job(guest, key, say):
            done.append(name)

    thread = threading.Thread(target=work)
    thread.start()
    assert queued.wait(60)
    return thread


def test_one_job_has_the_turn_and_the_others_are_told_how_many_are_before_them(queue):
    done, waiting = [], []
    with queue.job(None):
        threads = [start(queue, done, "first", waiting=waiting)]
        threads.append(start(queue, done, "second", waiting=waiting))
        assert done == []
        assert len(queue) == 3
        assert {1, 2} <= set(waiting)
    for thread in threads:
        thread.join(60)
    assert done == ["first", "second"]
    assert len(queue) == 0


def test_between_two_steps_the_guest_who_has_used_least_goes_first(queue):
    greedy, modest, done = shares.Share(), shares.Share(), []
    greedy.jobs.spend(50)
    with queue.job(greedy) as give_way:
        threads = [start(queue, done, "greedy", greedy), start(queue, done, "modest", modest)]
        threads.append(start(queue, done, "presenter"))
        give_way()
        done.append("the long job's second step")
    for thread in threads:
        thread.join(60)
    assert done == ["presenter", "modest", "the long job's second step", "greedy"]


def test_jobs_with_the_same_key_follow_one_another_entirely(queue):
    done = []
    with queue.job(None, "the same") as give_way:
        same = start(queue, done, "the same", key="the same")
        other = start(queue, done, "another", key="another")
        give_way()
        done.append("the first has its result")
    same.join(60)
    other.join(60)
    assert done == ["another", "the first has its result", "the same"]


def test_the_presenter_waits_for_no_guest_with_the_same_job(queue):
    guest, done = shares.Share(), []
    guest.jobs.spend(50)
    with queue.job(guest, "the same") as give_way:
        presenter = start(queue, done, "the presenter", key="the same")
        give_way()
        done.append("the guest")
    presenter.join(60)
    assert done == ["the presenter", "the guest"]


def test_a_guest_has_two_jobs_and_the_presenter_any_number(queue):
    guest = shares.Share()
    with queue.job(guest) as give_way:
        waits = start(queue, [], "second", guest)
        with pytest.raises(jobs.BusyError), queue.job(guest):
            pass
        presenters = [start(queue, [], "presenter") for _ in range(3)]
        give_way()
    for thread in [waits, *presenters]:
        thread.join(60)
    with queue.job(guest):
        assert len(queue) == 1


def test_what_waits_for_the_same_result_counts_too_and_never_for_the_presenter(queue):
    guest, others = shares.Share(), [shares.Share() for _ in range(jobs.IN_ALL)]
    with queue.place(guest), queue.place(guest), pytest.raises(jobs.BusyError), queue.place(guest):
        pass
    with contextlib.ExitStack() as stack:
        for other in others:
            stack.enter_context(queue.place(other))
        with pytest.raises(jobs.BusyError), queue.place(guest):
            pass
        with queue.place(None), queue.job(None):
            pass
    with queue.place(guest):
        pass


def test_an_address_of_many_visitors_has_more_jobs(queue, monkeypatch):
    monkeypatch.setenv(shares.VARIABLE, "80")
    room = shares.Share()
    with contextlib.ExitStack() as stack:
        for _ in range(jobs.OF_A_GUEST + 10):
            stack.enter_context(queue.place(room))
        with pytest.raises(jobs.BusyError), queue.place(room):
            pass


def test_a_job_inside_a_page_is_paid_from_the_jobs_alone(queue, monkeypatch):
    share = shares.Share()
    share.pages.rate = share.jobs.rate = 1e-9
    work = iter([10.0, 10.5, 40.5, 41.0])  # the page begins, the job, its end, the page's end
    monkeypatch.setattr(shares.time, "thread_time", lambda: next(work))
    with shares.charged(lambda: share), queue.job(share):
        pass
    assert share.pages.left() == pytest.approx(share.pages.most - 1.0)
    assert share.jobs.left() < share.jobs.most


def test_a_job_that_fails_or_whose_visitor_leaves_lets_the_others_go_on(queue):
    with pytest.raises(KeyError), queue.job(None):
        raise KeyError

    def leave(before):
        raise InterruptedError

    def wait_and_leave():
        with pytest.raises(InterruptedError), queue.job(None, say=leave):
            pass

    with queue.job(None):
        left = threading.Thread(target=wait_and_leave)
        left.start()
        left.join(60)
        assert len(queue) == 1
    assert len(queue) == 0


def test_beside_a_run_a_guest_waits_between_steps_when_the_allowance_is_used_up(queue, monkeypatch):
    monkeypatch.setattr(jobs, "LONGEST_PAUSE", 0.01)
    guest, waited = shares.Share(), []
    guest.jobs.spend(50)
    with queue.job(guest, say=waited.append) as give_way:
        assert waited == []
        monkeypatch.setattr(jobs, "is_training", lambda: True)
        give_way()
        assert waited == [0]
    with queue.job(None, say=waited.append):
        assert waited == [0]


def test_the_time_is_taken_from_the_guest(queue, monkeypatch):
    now = iter(range(0, 1000, 3))
    guest = shares.Share()
    guest.jobs.rate = 1e-9
    monkeypatch.setattr(jobs.time, "monotonic", lambda: next(now))
    with queue.job(guest):
        pass
    assert guest.jobs.left() < guest.jobs.most
