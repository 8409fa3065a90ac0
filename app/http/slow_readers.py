"""Cutting off who does not take what is sent."""

import asyncio

from starlette.types import Message, Send


class TooSlow(Exception):
    """Nothing was taken for as long as that may be."""


def in_time(send: Send, *, seconds_max: float) -> Send:
    """A `send` that raises TooSlow when a message has not been taken after `seconds_max`."""

    async def send_in_time(message: Message) -> None:
        try:
            async with asyncio.timeout(seconds_max):
                await send(message)
        except TimeoutError:
            raise TooSlow from None

    return send_in_time
