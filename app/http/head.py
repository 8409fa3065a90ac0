"""HEAD wherever GET is: the same status and headers, and no body (RFC 9110, section 9.3.2)."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class _Answered(Exception):
    """All that HEAD asks for has been sent, and the rest would never end or cost much."""


class HeadAsGet:
    """Answers HEAD as its route answers GET, and leaves a stream or an export where it begins.

    No route knows of it, so that /openapi.json need not list what every GET has.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        asked = {**scope, "method": "GET"}  # the server still has to know that it was HEAD

        async def send_head(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                return
            await send({"type": "http.response.body"})
            if message.get("more_body"):
                raise _Answered

        try:
            await self._app(asked, receive, send_head)
        except* _Answered:  # out of whatever task group was streaming
            pass
        finally:
            scope["route"] = asked.get("route")  # for the log and the metrics
