"""Who may open a WebSocket from a page."""

import pytest

from asgi.origins import is_welcome


@pytest.mark.parametrize(
    ("origin", "host", "scheme", "welcome"),
    [
        (None, "example.com", "ws", True),
        ("http://example.com", "example.com", "ws", True),
        ("http://example.com:80", "example.com", "ws", True),
        ("http://EXAMPLE.com", "example.COM", "ws", True),
        ("http://example.com:8000", "example.com:8000", "ws", True),
        ("https://example.com", "example.com", "ws", True),
        ("https://example.com", "example.com", "wss", True),
        ("http://[::1]:8000", "[::1]:8000", "ws", True),
        ("https://allowed.test", "example.com", "ws", True),
        ("http://allowed.test", "example.com", "ws", False),
        ("https://allowed.test:8443", "example.com", "ws", False),
        ("http://example.com:8001", "example.com:8000", "ws", False),
        ("http://evil.test", "example.com", "ws", False),
        ("http://example.com.evil.test", "example.com", "ws", False),
        ("http://example.com", "example.com", "wss", False),
        ("null", "example.com", "ws", False),
        ("", "example.com", "ws", False),
        ("", "", "ws", False),
        ("http://example.com:port", "example.com", "ws", False),
        ("http://[", "example.com", "ws", False),
    ],
)
def test_f21_only_the_same_or_an_allowed_origin_is_welcome(settings, origin, host, scheme, welcome):
    """A page of another origin may not; a program without one may; ports and letter case are compared as URLs are."""
    settings.FILEWIRE_ALLOWED_ORIGINS = ["https://allowed.test"]
    settings.ALLOWED_HOSTS = ["example.com", "[::1]"]
    assert is_welcome(origin, host, scheme) is welcome
