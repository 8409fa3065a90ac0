"""A venue that tells tickers at a steady rate and nothing else, for scripts/bench streams.

    python -m bench.tickers --rate 50

Every ticker carries the wall clock at which it was written, so that whoever hears it, however
late and through whomever, knows how long that took.
"""

import argparse
import asyncio
import json
import time
from typing import Any, Final

import uvloop
from websockets.asyncio.server import ServerConnection, serve

TICK_SECONDS: Final = 0.005


class _Teller:
    """One connection: it is told every topic that it asked for, evenly spread over time."""

    def __init__(self, connection: ServerConnection, *, per_second: float) -> None:
        self._connection = connection
        self._per_second = per_second
        self._topics: dict[str, None] = {}
        self._told = 0

    async def listen(self) -> None:
        async for message in self._connection:
            said: dict[str, Any] = json.loads(message)
            if said["op"] == "subscribe":
                for topic in said["args"]:
                    await self._connection.send(_ticker(topic, self._told))
                    self._topics[topic] = None
            elif said["op"] == "unsubscribe":
                for topic in said["args"]:
                    self._topics.pop(topic, None)
            answer = {"success": True, "ret_msg": "pong", "op": said["op"], "conn_id": "bench"}
            await self._connection.send(json.dumps({**answer, "req_id": said.get("req_id", "")}))

    async def tell(self) -> None:
        due, before = 0.0, time.monotonic()
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = time.monotonic()
            due += (now - before) * self._per_second * len(self._topics)
            before = now
            topics = list(self._topics)
            while due >= 1:
                due -= 1
                self._told += 1
                await self._connection.send(_ticker(topics[self._told % len(topics)], self._told))


def _ticker(topic: str, number: int) -> str:
    """A whole ticker, as the venue sends it."""
    symbol = topic.partition(".")[2]
    price = f"{83_000 + number % 1000}.60"
    data = {
        "symbol": symbol, "tickDirection": "ZeroMinusTick", "price24hPcnt": "-0.01229",
        "lastPrice": price, "prevPrice24h": "84057.70", "highPrice24h": "84556.00",
        "lowPrice24h": "82813.80", "prevPrice1h": "83275.30", "markPrice": price,
        "indexPrice": "83074.01", "openInterest": "57118.511",
        "openInterestValue": "4742247240.22", "turnover24h": "3734121786.2434",
        "volume24h": "44701.1000", "nextFundingTime": "1790784000000",
        "fundingRate": "-0.00007774", "bid1Price": price, "bid1Size": "3.871",
        "ask1Price": f"{83_000 + number % 1000}.70", "ask1Size": "2.935",
    }  # fmt: skip
    now_ms = time.time_ns() // 1_000_000
    return json.dumps(
        {"topic": topic, "type": "snapshot", "data": data, "cs": number, "ts": now_ms}
    )


async def run(*, per_second: float) -> None:
    """Tell until cancelled; the first line says where."""

    async def handle(connection: ServerConnection) -> None:
        teller = _Teller(connection, per_second=per_second)
        telling = asyncio.create_task(teller.tell())
        try:
            await teller.listen()
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)

    async with serve(handle, "127.0.0.1", 0, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        print(f"http://127.0.0.1:{port}", flush=True)
        await server.serve_forever()


def main() -> None:
    """Tell at the rate that the command line says."""
    parser = argparse.ArgumentParser(prog="python -m bench.tickers", description=__doc__)
    parser.add_argument("--rate", type=float, default=50.0, help="tickers a second of each topic")
    uvloop.run(run(per_second=parser.parse_args().rate))


if __name__ == "__main__":
    main()
