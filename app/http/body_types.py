"""Which bodies are read at all: of the type that a route expects, and not compressed."""

from email.message import Message
from typing import Final

from fastapi import Request
from starlette.exceptions import HTTPException

JSON_TYPES: Final = ("application/json",)
FORM_TYPES: Final = ("application/x-www-form-urlencoded", "multipart/form-data")


def refuse_other_types(request: Request, types: tuple[str, ...]) -> None:
    """Raise 415 for a body of another type than these, or a compressed one.

    A compressed body of a thousand bytes may have a thousand million of them; and JSON that
    calls itself text can be sent by any web page without the browser asking first.
    """
    headers = request.headers
    if headers.get("content-type") in types and "content-encoding" not in headers:
        return
    if headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers:
        return
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise HTTPException(
            415,
            "a request body may not be compressed: send it without Content-Encoding",
            headers={"Accept-Encoding": "identity"},
        )
    sent = Message()
    sent["content-type"] = headers.get("content-type", "")
    kind = sent.get_content_type() if "content-type" in headers else ""
    is_json = types is JSON_TYPES and kind.startswith("application/") and kind.endswith("+json")
    if kind not in types and not is_json:
        raise HTTPException(415, f"send the body with Content-Type: {types[0]}")
