"""Who goes first: use, the order of those who wait, pauses beside a run, limits, and computations."""

import threading
from types import SimpleNamespace

import pytest

from kdexplorer.app.server import turns
from kdexplorer.app.server.turns import Visitor
from kdexplorer.errors import KDError


@pytest.fixture(autouse=True)
def clock(monkeypatch, nobody_known):
    """Seconds that pass only when a test says so."""
    now = [1000.0]
    monkeypatch.setattr(turns, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def arrive(address="room", cookie="", presenter=False):
    """Connects a visitor."""
    visitor = turns.arrive(address, cookie)
    if presenter:
        visitor.browser.is_presenter = True
    return visitor


def used(who):
    """What an address or a visitor has used."""
    use = who.browser.use if isinstance(who, Visitor) else turns._addresses.get(who, turns.UNUSED)
    return turns._left(use, turns.time.monotonic())


def spend(clock, visitor, seconds):
    """A visitor has a turn of so many seconds."""
    turn = turns.ask(visitor)
    clock[0] += seconds
    for _ in range(2):  # the end of a run may be noticed twice
        turns.end(turn)


def order(waiting):
    """The names of those who wait, in the order in which they get the one place, one after the other."""
    found = []
    while waiting:
        name = next(name for name, turn in waiting.items() if turn.granted.done())
        turns.end(waiting.pop(name))
        found.append(name)
    return found


def test_the_time_of_a_turn_is_used_by_the_visitor_and_the_address(clock):
    visitor, other = arrive(), arrive()
    for seconds in (3, 1):
        spend(clock, visitor, seconds)
    assert (used(visitor), used(other)) == (pytest.approx(3 * 0.5**0.1 + 1), 0.0)
    assert used("room") == used(visitor)
    before = used("room")
    spend(clock, arrive(presenter=True), turns.HALF_LIFE)
    assert used("room") == pytest.approx(before / 2)  # nobody waits because of what the presenter has used


def test_who_waits_goes_first_by_presenter_then_address_then_visitor(clock):
    greedy, modest, other, presenter = arrive(), arrive(), arrive("elsewhere"), arrive(presenter=True)
    for visitor, seconds in ((presenter, 20), (greedy, 20), (modest, 0), (other, 8)):  # of another address, with less
        spend(clock, visitor, seconds)
    everyone = {"greedy": greedy, "modest": modest, "other": other, "presenter": presenter}
    held = turns.ask(Visitor(), computes=True), turns.ask(presenter), turns.ask(presenter)
    waiting = {name: turns.ask(visitor, computes=True) for name, visitor in everyone.items()}
    turns.end(held[0])
    assert [name for name, turn in waiting.items() if turn.granted.done()] == ["presenter"]
    for turn in (*held, waiting.pop("presenter")):
        turns.end(turn)
    assert order(waiting) == ["other", "modest", "greedy"]


def test_who_has_just_come_or_is_hasty_has_every_fourth_turn_and_the_late_come_after_the_new(clock):
    known, hasty, held = arrive(), arrive("elsewhere"), [turns.ask(arrive(presenter=True)) for _ in range(3)]
    known.browser.left = hasty.browser.left = clock[0]
    hasty.browser.thinks, turns._addresses["room"] = 1.4, (9.0, clock[0])
    waiting = {f"known {number}": turns.ask(known, computes=True) for number in range(12)}
    waiting |= {"hasty": turns.ask(hasty, computes=True)}
    for name in ("late", "new", "newest"):
        waiting[name] = turns.ask(arrive(), computes=True)
        clock[0] += 1.4
    for turn in held:
        turns.end(turn)
    names, three = [name.split()[0] for name in order(waiting)], ["known"] * turns.TURNS_OF_OTHERS
    assert names == [*three, "hasty", *three, "new", *three, "newest", *three, "late"]


def test_coming_and_going_gains_nothing_and_an_address_is_remembered_as_long_as_it_has_used_something(clock):
    spend(clock, visitor := arrive(cookie="hers"), 6)
    del turns.visitors[visitor.name]
    assert [used(arrive()), used(arrive())] == pytest.approx([6, 3])  # what the address has used, for one and for two
    assert used(arrive(cookie="hers")) == pytest.approx(6)
    clock[0] += 1000
    arrive("elsewhere")
    assert not turns._addresses


def test_of_many_browsers_those_are_remembered_that_have_left_within_a_minute(clock, monkeypatch):
    monkeypatch.setattr(turns, "BROWSERS", 2)
    for name in ("old", "new", "idle"):
        visitor = arrive(cookie=name)
        if name != "idle":
            turns.end(turns.ask(visitor))
        del turns.visitors[visitor.name]
        clock[0] += 25
    arrive(cookie="last")
    assert set(turns._browsers) == {"new", "last"}


def test_two_pages_run_at_a_time_and_one_more_of_the_presenter():
    first, second, third = (turns.ask(arrive()) for _ in range(3))
    presenter = arrive(presenter=True)
    pages = [turns.ask(presenter) for _ in range(2)]
    assert [turn.granted.done() for turn in (first, second, third, *pages)] == [True, True, False, True, False]
    turns.end(first)
    assert (third.granted.done(), pages[1].granted.done()) == (False, True)
    for turn in (second, pages[0]):
        turns.end(turn)
    assert third.granted.done()


def press(visitor):
    """Lets a visitor ask without pause until it counts as such; returns how many turns that took."""
    for count in range(1, 100):
        turn = turns.ask(visitor)
        turns.end(turn)
        if turn.is_heavy:
            return count
    raise AssertionError("never")


def test_who_asks_without_pause_is_told_from_who_thinks_or_computes(clock):
    visitor = arrive()
    for _ in range(20):
        turns.end(turns.ask(visitor))
        clock[0] += 2
    with turns.compute(visitor) as give_way:
        for _ in range(20):
            give_way()
    clock[0] += 2
    assert press(visitor) == 4
    for _ in range(3):
        clock[0] += 3
        turns.end(turn := turns.ask(visitor))
    assert not turn.is_heavy
    assert press(arrive()) == 4  # the first request counts nothing


def test_of_those_who_ask_without_pause_or_compute_one_has_a_turn():
    first, second, modest, presenter = arrive(), arrive(), arrive(), arrive()
    press(first), press(second), press(presenter)
    presenter.browser.is_presenter = True
    held = turns.ask(presenter), turns.ask(first)
    waiting = [turns.ask(second), turns.ask(modest, computes=True), turns.ask(modest)]
    assert [turn.granted.done() for turn in (*held, *waiting)] == [True, True, False, False, False]
    turns.end(held[0])
    assert [turn.granted.done() for turn in waiting] == [False, False, True]
    turns.end(held[1])
    assert [turn.granted.done() for turn in waiting] == [False, True, True]


@pytest.mark.parametrize("computes", [False, True])
def test_while_a_run_trains_a_heavy_turn_is_followed_by_a_pause_without_heavy_ones(clock, monkeypatch, computes):
    later = []
    monkeypatch.setattr(turns, "later", lambda seconds, call: later.append((seconds, call)))
    monkeypatch.setattr(turns, "is_training", lambda second: True)
    visitor, presenter = arrive(), arrive(presenter=True)
    for length, pause in ((1, 5), (100, 30)):
        press(visitor)
        later.clear()
        turn, hers = turns.ask(visitor), turns.ask(presenter, computes=True)
        clock[0] += length
        turns.end(turn), turns.end(hers)
        ((seconds, call),) = later
        assert seconds == pause
        waits = turns.ask(arrive() if computes else visitor, computes)
        others = [turns.ask(arrive()), turns.ask(presenter, computes=True)]
        assert (waits.granted.done(), [turn.granted.done() for turn in others]) == (False, [True, True])
        for turn in others:
            turns.end(turn)
        assert not waits.granted.done()
        clock[0] += pause
        call()
        assert waits.granted.done()
        turns.end(waits)
        clock[0] += 10


def start(done, name, visitor, key=None, waiting=None):
    """A computation in a thread of its own; returns the thread once it waits or, the presenter's, works."""
    queued = threading.Event()

    def say(before):
        if waiting is not None:
            waiting.append(before)
        queued.set()

    def work():
        with turns.compute(visitor, key, say):
            done.append(name)
            queued.set()

    thread = threading.Thread(target=work)
    thread.start()
    assert queued.wait(60)
    return thread


def test_one_computes_and_the_others_are_told_how_many_are_before_them():
    visitor, done, waiting = arrive(), [], []
    visitor.page = turns.ask(visitor)
    with turns.compute(visitor):
        assert visitor.page.ended.done()  # other pages may run
        threads = [start(done, name, arrive(), waiting=waiting) for name in ("first", "second")]
        assert (done, len(turns.computations)) == ([], 3)
        assert {1, 2} <= set(waiting)
    for thread in threads:
        thread.join(60)
    assert done == ["first", "second"]
    assert not turns.computations


def test_between_two_steps_who_has_used_least_goes_first(clock):
    greedy, modest, presenter, done = arrive("one"), arrive("two"), arrive("three", presenter=True), []
    spend(clock, greedy, 50)
    with turns.compute(greedy) as give_way:
        threads = [start(done, name, one) for name, one in (("modest", modest), ("presenter", presenter))]
        give_way()
        done.append("the long one's second step")
    for thread in threads:
        thread.join(60)
    assert done == ["presenter", "modest", "the long one's second step"]


@pytest.mark.parametrize("is_presenter", [False, True])
def test_the_same_computation_waits_for_the_first_result_but_not_the_presenters(is_presenter, monkeypatch, clock):
    monkeypatch.setattr(turns, "POLL", 0.001)
    first, second, done = arrive("one"), arrive("two", presenter=is_presenter), []
    spend(clock, first, 50)
    with turns.compute(first, "the same") as give_way:
        threads = [start(done, "the second", second, "the same"), start(done, "another", arrive("three"), "another")]
        give_way()
        done.append("the first")
    for thread in threads:
        thread.join(60)
    assert done == [*["the second"][:is_presenter], "another", "the first", *["the second"][is_presenter:]]


def test_a_browser_and_all_together_have_so_many_computations_and_the_presenter_any_number(monkeypatch):
    monkeypatch.setattr(turns, "COMPUTED_BY_A_BROWSER", 2)
    visitor, tab, presenter = arrive(cookie="hers"), arrive(cookie="hers"), arrive(presenter=True)
    with turns.compute(visitor):
        waits = start([], "second", tab)
        for refused, most in ((tab, turns.COMPUTATIONS), (arrive(), 4)):  # of four an address has two
            monkeypatch.setattr(turns, "COMPUTATIONS", most)
            with pytest.raises(KDError, match="Too many"), turns.compute(refused):
                pass
        threads = [waits, *(start([], "one more", one) for one in (arrive("elsewhere"), *[presenter] * 3))]
    for thread in threads:
        thread.join(60)


def test_one_that_fails_or_whose_visitor_leaves_lets_the_others_go_on():
    with pytest.raises(KeyError), turns.compute(arrive(), "key"):
        raise KeyError

    def leave(before):
        raise InterruptedError

    def wait_and_leave(key):
        with pytest.raises(InterruptedError), turns.compute(arrive(), key, leave):
            pass

    with turns.compute(arrive(), "key"):
        for key in (None, "key"):  # in the queue, and before it
            left = threading.Thread(target=wait_and_leave, args=[key])
            left.start()
            left.join(60)
        assert len(turns.computations) == 1
    assert not turns.computations
    with turns.compute(arrive(), "key"):
        pass


def test_the_script_knows_its_visitor_by_a_header(monkeypatch):
    visitor, headers = arrive(), {}
    monkeypatch.setattr(turns.st, "context", type("Context", (), {"headers": headers}))
    assert turns.own() is not visitor
    headers[turns.HEADER] = visitor.name
    assert turns.own() is visitor


def test_whether_something_trains_is_looked_up_once_a_second_and_what_is_called_later_is_called(monkeypatch):
    monkeypatch.undo()
    turns.is_training.cache_clear()
    answers = iter([0, 2])
    monkeypatch.setattr(turns, "count_live", lambda: next(answers))
    assert [turns.is_training(second) for second in (1, 1, 2)] == [False, False, True]
    turns.is_training.cache_clear()
    called = threading.Event()
    turns.later(0, called.set)
    assert called.wait(60)
