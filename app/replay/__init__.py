"""The replay exchange: Bybit v5 public market data, recorded as ticks and candles or generated.

    async with replay(Path("candles"), speed=0) as exchange:
        ... exchange.base_url, exchange.clock, exchange.faults, exchange.requests

candles    intervals, candles, and the price path inside a candle
market     instruments and their history; what they cost at an instant
recorded   a market out of files           generated   a market out of a seed
files      what a folder has to replay     history     one instrument out of its files
ticks      recorded trades, best prices    tables      Parquet and CSV, a block at a time
clock      what time it is on the exchange
answers, book, listing                     the endpoints: (market, instant, query) -> result
wire       envelope and number texts       frames      what a WebSocket said, as recorded
feeds      what one topic tells            socket      the WebSocket
faults, stream_faults                      misbehaviour on request
control    /control, the operator's side   recorder    writes a venue's stream down
server     the loopback server             opening     all of it from a command line's words
"""

from app.replay.clock import ReplayClock
from app.replay.errors import ReplayError
from app.replay.faults import Fault
from app.replay.generated import generated_market
from app.replay.market import Market
from app.replay.opening import replay
from app.replay.recorded import recorded_market
from app.replay.server import ReplayExchange, replay_exchange

__all__ = [
    "Fault",
    "Market",
    "ReplayClock",
    "ReplayError",
    "ReplayExchange",
    "generated_market",
    "recorded_market",
    "replay",
    "replay_exchange",
]
