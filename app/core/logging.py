"""Log lines: one JSON object each for machines, one readable line each for a terminal.

Nothing that a caller sent is logged but the method, the route's template and the request
id. Passwords, tokens and connection strings are never handed to a logger.
"""

import json
import logging
import sys
from asyncio import CancelledError
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal, TextIO

REQUEST_LOGGER: Final = "goblin.request"
_PLAIN: Final = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "taskName",
    "color_message",  # uvicorn's message once more, with colours
}


_encode: Final = json.JSONEncoder(default=str).encode


def log_request(fields: Mapping[str, object]) -> None:
    """One line about a request; a logger's own way would look for its caller first."""
    logger = logging.getLogger(REQUEST_LOGGER)
    if logger.isEnabledFor(logging.INFO):
        record = logging.LogRecord(REQUEST_LOGGER, logging.INFO, "", 0, "request", None, None)
        vars(record).update(fields)
        logger.handle(record)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _PLAIN}


class JsonFormatter(logging.Formatter):
    """One JSON object per line; line breaks and control characters are escaped by JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record with its extra fields as one line of ASCII JSON."""
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return _encode(line)


def _visible(text: str) -> str:
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


class TextFormatter(logging.Formatter):
    """`12:30:01 info  POST /order 201 3.2 ms ...`, control characters made visible."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one readable line, a traceback below it if there is one."""
        at = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S")
        fields = _fields(record)
        if record.name == REQUEST_LOGGER:
            text = "{method} {route} {status} {milliseconds} ms".format_map(fields)
            if fields.get("user_id") is not None:
                text += f" user {fields['user_id']}"
            text += f" [{fields['request_id']}]"
        else:
            text = " ".join([record.getMessage(), *(f"{k}={v}" for k, v in fields.items())])
        line = f"{at} {record.levelname.lower():<7} {_visible(text)}"
        if record.exc_info:
            for below in self.formatException(record.exc_info).split("\n"):
                line += "\n    " + _visible(below)  # indented: no line of its own
        return line


def keep_frames_out_of_the_log() -> None:
    """Whatever uvicorn was told: at DEBUG it logs every WebSocket frame, tokens in them too."""
    logger = logging.getLogger("uvicorn.error")
    logger.setLevel(max(logging.INFO, logger.getEffectiveLevel()))


def configure_logging(
    *, level: str, style: Literal["auto", "json", "text"], stream: TextIO | None = None
) -> None:
    """Send every logger's lines to one stream (standard error by default)."""
    target = sys.stderr if stream is None else stream
    is_text = style == "text" or (style == "auto" and target.isatty())
    handler = logging.StreamHandler(target)
    handler.setFormatter(TextFormatter() if is_text else JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    hold_back_libraries(root.level)


def hold_back_libraries(level: int) -> None:
    """Let none of them write below WARNING, also at DEBUG.

    They would write what they carry, as uvicorn and websockets do with every frame and the
    headers before it, tokens and passwords included.
    """
    for noisy in (
        "httpx", "httpcore", "asyncio", "multipart", "python_multipart", "uvicorn", "websockets",
    ):  # fmt: skip
        logging.getLogger(noisy).setLevel(max(logging.WARNING, level))
    logging.getLogger("uvicorn.error").addFilter(_is_an_error)
    # Its pool writes a traceback for each second that the database is away; app.db says so too.
    logging.getLogger("asyncpg").setLevel(logging.ERROR)


_ANSWERED: Final = (
    "ASGI callable returned without completing handshake.",
    "Invalid HTTP request received.",
    "Invalid UTF-8 sequence received from client.",
)


def _is_an_error(record: logging.LogRecord) -> bool:
    """Uvicorn takes for one what goblin answers, and gives a line of its own.

    A WebSocket that is refused like any other request, and a request that is cut off at the end;
    and what is no HTTP or no text, by which anybody could fill the disk.
    """
    is_cut_off = record.exc_info and isinstance(record.exc_info[1], CancelledError)
    return not (is_cut_off or record.msg in _ANSWERED)
