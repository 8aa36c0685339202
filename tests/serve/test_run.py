"""Addresses: what may be bound, and what is said when it may not."""

from __future__ import annotations

import pytest

from basewright.errors import UsageError
from basewright.serve import run

KEY = "k" * 32


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", ""])
@pytest.mark.parametrize("key", [None, "", "short", "k" * 21])
def test_h084_an_open_address_needs_a_long_key(host: str, key: str | None) -> None:
    with pytest.raises(UsageError, match="can be reached from other machines") as caught:
        run.bind(host, 0, key)
    assert "BASEWRIGHT_API_KEY" in caught.value.fix


def test_a_taken_port_names_the_next() -> None:
    with run.bind("127.0.0.1", 0, None) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"port {port} of 127.0.0.1 is in use") as caught:
            run.bind("127.0.0.1", port, None)
    assert caught.value.fix == f"add --port {port + 1}"


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.name.invalid"])
def test_an_address_of_another_machine_is_one_line(host: str) -> None:
    with pytest.raises(UsageError) as caught:
        run.bind(host, 0, KEY)
    assert "--host 127.0.0.1" in caught.value.fix


@pytest.mark.parametrize(
    ("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("localhost", "localhost"), ("127.0.0.3", "127.0.0.3")]
)
def test_the_address_is_shown_as_it_is_asked_for(host: str, shown: str) -> None:
    with run.bind(host, 0, None) as listener:
        assert run.url(host, listener) == f"http://{shown}:{listener.getsockname()[1]}"
