"""The files for containers: whose address counts behind the proxy, and what settings the application has there."""

import re
import tomllib

import pytest
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from benchmarks.app import ROOT

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
