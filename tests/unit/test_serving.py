"""What is said to whoever cannot be served."""

import socket

import pytest
from app.core.config import load_settings
from app.serving import UsageError, bind


def test_an_address_of_another_machine_is_refused_with_one_that_would_do() -> None:
    settings = load_settings(env_file=None, host="192.0.2.1", port=0)
    with pytest.raises(UsageError, match=r"cannot listen on 192\.0\.2\.1 .*--host 127\.0\.0\.1"):
        bind(settings)


def test_a_port_that_is_taken_is_refused_with_another() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = load_settings(env_file=None, host="127.0.0.1", port=taken.getsockname()[1])
        with pytest.raises(UsageError, match=r"already in use.*--port 8001"):
            bind(settings)
