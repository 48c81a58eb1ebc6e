"""Nobody can fill the disk with refusals."""

import logging

from kdexplorer.app.server import refusals


def test_each_refusal_is_logged_once_per_network_and_minute(caplog, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(refusals.time, "monotonic", lambda: clock[0])
    for address in ["203.0.113.7", "::ffff:203.0.113.7", "203.0.113.8", "2001:db8::1", "2001:db8::2", None] * 50:
        refusals.log_refusal(address, "too many")
    logged = [message.partition(": ")[0] for message in caplog.messages]
    assert logged == ["203.0.113.7", "203.0.113.8", "2001:db8::/64", "unknown"]
    clock[0] += refusals.PERIOD + 1
    refusals.log_refusal("203.0.113.7", "too many")
    refusals.log_refusal("203.0.113.7", "another reason")
    assert len(caplog.records) == 6


def test_no_number_of_addresses_fills_the_log_or_the_memory(caplog, monkeypatch):
    monkeypatch.setattr(refusals, "KEPT", 300)
    for number in range(2 * refusals.KEPT):
        refusals.log_refusal(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", "too many")
    assert len(caplog.records) == refusals.KEPT


def test_a_library_repeats_no_warning_and_no_error_of_one_place_within_a_minute(caplog):
    logger = logging.getLogger("kdexplorer.tests.library")
    logger.addFilter(refusals.OncePerMinute())
    caplog.set_level("INFO")
    for number in range(20):
        logger.warning("invalid request %d", number)
        logger.info("served")
        for fail in (lambda: 1 / 0, lambda: [][number]):  # noqa: B023
            try:
                fail()
            except (ZeroDivisionError, IndexError):
                logger.exception("uncaught")
    levels = [record.levelname for record in caplog.records]
    assert [levels.count(level) for level in ("WARNING", "ERROR", "INFO")] == [1, 2, 20]
