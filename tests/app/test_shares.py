"""What the visitors of one address may use."""

import itertools

import pytest

from kdexplorer.app.server import shares


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only when a test says so."""
    now = [1000.0]
    monkeypatch.setattr(shares.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(shares, "_shares", {})
    return now


def test_an_allowance_is_overdrawn_and_fills_up_again(clock):
    allowance = shares.Allowance(rate=0.5, most=3.0)
    allowance.spend(4.0)
    assert (allowance.left(), allowance.wait()) == (-1.0, 2.0)
    clock[0] += 2
    assert (allowance.left(), allowance.wait()) == (0.0, 0.0)
    clock[0] += 100
    assert allowance.left() == 3.0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("203.0.113.7", "203.0.113.7", True),
        ("203.0.113.7", "203.0.113.8", False),
        ("203.0.113.7", "::ffff:203.0.113.7", True),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::9", True),  # one subscriber has as many addresses as they like
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("unix", "unix", True),
    ],
)
def test_who_shares(clock, one, other, same):
    assert (shares.share_of(one) is shares.share_of(other)) == same


@pytest.mark.parametrize("address", [None, "127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_this_machine_is_not_limited(address):
    assert shares.share_of(address) is None


def test_idle_addresses_are_forgotten_and_others_are_not(clock, monkeypatch):
    monkeypatch.setattr(shares, "KEPT", 3)
    connected, owing = shares.share_of("203.0.113.1"), shares.share_of("203.0.113.2")
    connected.connections = 1
    owing.pages.spend(100)
    for number in range(20):
        shares.share_of(f"198.51.100.{number}")
    assert len(shares._shares) <= 4
    assert shares.share_of("203.0.113.1") is connected
    assert shares.share_of("203.0.113.2") is owing


def test_one_address_may_stand_for_many_visitors(clock, monkeypatch):
    alone = shares.share_of("203.0.113.1")
    monkeypatch.setenv(shares.VARIABLE, "100")
    room = shares.share_of("203.0.113.2")
    assert (alone.most_connections, room.most_connections) == (32, 400)
    assert room.pages.rate == pytest.approx(100 * alone.pages.rate)


@pytest.mark.parametrize("text", ["0", "-1", "many", "1.5", "10001", "9" * 5000])
def test_anything_but_a_number_of_visitors_ends_the_start(monkeypatch, text):
    monkeypatch.setenv(shares.VARIABLE, text)
    with pytest.raises(SystemExit, match=shares.VARIABLE):
        shares.check_setting()


def test_the_processor_time_of_a_page_is_charged_once_with_its_fragments(clock, monkeypatch):
    share = shares.share_of("203.0.113.1")
    monkeypatch.setattr(shares.time, "thread_time", itertools.count().__next__)  # each look is a second later
    fragment = shares.charged(lambda: share)(lambda: None)
    with shares.charged(lambda: share):
        fragment()
    assert share.pages.left() == share.pages.most - 1
    fragment()
    with pytest.raises(KeyError), shares.charged(lambda: share):
        raise KeyError
    assert share.pages.left() == share.pages.most - 3
