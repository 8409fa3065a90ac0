"""A number that a page promises is the number in the code."""

import pytest
from app.clients.bybit_socket import StreamTimes
from app.core.config import PROJECT
from app.db.database import ACQUIRE_SECONDS_MAX, LOCK_SECONDS_MAX
from app.db.dataframes import QUERY_SECONDS_MAX, ROWS_MAX
from app.domain.api_keys import API_KEYS_MAX
from app.domain.attempts import LOGINS
from app.domain.circuits import PROBE_SECONDS
from app.http.exports import PIECE_BYTES
from app.http.middleware import BODY_BYTES_MAX
from app.jobs.stream_market import STORED_SYMBOLS_MAX, RelayTimes
from app.jobs.tell_events import PAUSE_SECONDS, USERS_PER_TEXT_MAX
from app.routers.events import WAIT_SECONDS_MAX
from app.services.board import ROWS_UNTAKEN_MAX
from app.services.demand import PASSING_MAX_ELSE, TOPICS_MAX
from app.services.event_feed import StreamLimits as EventLimits
from app.services.exports import ExportLimits
from app.services.live_candles import FILLED_MAX
from app.services.live_market import TICKER_AGE_SECONDS_MAX, WAIT_SECONDS
from app.services.market_feed import ROWS_MAX as MARKET_ROWS_MAX
from app.services.market_feed import TICK_SECONDS, FeedLimits
from app.services.readiness import CHECK_SECONDS_MAX
from app.serving import DEFAULT_LIMITS, KEEP_ALIVE_SECONDS, UNREAD_MILLISECONDS_MAX
from app.workers import (
    CONNECTIONS_OF_ITS_OWN,
    PORT_SECONDS_MAX,
    RESTART_SECONDS_MAX,
    RESTART_SECONDS_MIN,
    STOP_SECONDS_MAX,
    WORKERS_MAX,
)

EVENTS, EXPORTS, MARKET = EventLimits(), ExportLimits(per_process=1), FeedLimits()
STREAM, RELAY = StreamTimes(), RelayTimes()
assert CONNECTIONS_OF_ITS_OWN == 4, "'four more'"

PROMISES = {
    "docs/operations.md": [
        f"and closed, {DEFAULT_LIMITS.request_seconds:g} seconds after the connection",
        f"sends nothing between two requests | closed after {KEEP_ALIVE_SECONDS} seconds",
        f"closed with 4401 after {EVENTS.opening_seconds:g} seconds",
        (
            f"cut after {UNREAD_MILLISECONDS_MAX / 1000:g} seconds; "
            f"from an event stream after {EVENTS.send_seconds:g}"
        ),
        f"`CONNECTIONS_MAX`, {DEFAULT_LIMITS.connections}",
        f"more than {DEFAULT_LIMITS.headers} headers, or {DEFAULT_LIMITS.head_bytes:,} bytes",
        f"a URL of more than {DEFAULT_LIMITS.url_bytes:,} bytes",
        f"a body of more than {BODY_BYTES_MAX:,} bytes",
        f"waits at most {ACQUIRE_SECONDS_MAX:g} second each time",
        f"at most {LOCK_SECONDS_MAX} seconds for a row",
        f"no answer within {CHECK_SECONDS_MAX:g} seconds",
        f"--workers N` (1 to {WORKERS_MAX})",
        (
            f"replaced after {RESTART_SECONDS_MIN:g} seconds, "
            f"later and later (up to {RESTART_SECONDS_MAX:g} seconds)"
        ),
        f"within `SHUTDOWN_SECONDS` and {STOP_SECONDS_MAX:g} more",
        f"waits up to {PORT_SECONDS_MAX:g} seconds for their port",
        "`DB_POOL_SIZE` and four more",
    ],
    "docs/events.md": [
        f"(0 to {WAIT_SECONDS_MAX} seconds, 0 by default)",
        f"within {EVENTS.opening_seconds:g} seconds. The token",
        f"{EVENTS.per_user} streams of the account are open",
        f"{EVENTS.per_process} streams are open",
        f"nothing was read for {EVENTS.send_seconds:g} seconds",
        f"never silent for more than {EVENTS.keep_alive_seconds:g} seconds",
        f"at most every {PAUSE_SECONDS * 1000:g} ms with up to {USERS_PER_TEXT_MAX} users",
    ],
    "docs/export.md": [
        f"at most {EXPORTS.per_user} at a time",
        f"takes nothing of {PIECE_BYTES // 1024} KiB for {EXPORTS.send_seconds:g} seconds",
        f"every export after {EXPORTS.seconds_max / 60:g}\n  minutes",
    ],
    "docs/streams.md": [
        f"(looked up every {RELAY.look_up:g} seconds, at most {STORED_SYMBOLS_MAX})",
        f"At most {TOPICS_MAX:,} topics, of which 500 tickers and {PASSING_MAX_ELSE} books",
        f"to {STREAM.reconnect_max:g} seconds, with jitter",
        f"nothing comes for {STREAM.silence:g} seconds (a ping is sent every {STREAM.ping:g},",
        f"waits up to {WAIT_SECONDS:g} seconds for a book or trades",
        f"A ticker older than {TICKER_AGE_SECONDS_MAX:g} seconds is not shown",
        f"every {TICK_SECONDS * 1000:g} ms at most",
        f"up to {MARKET_ROWS_MAX} a topic wait",
        f"takes nothing for {MARKET.send_seconds:g} seconds is cut off",
        (
            f"{MARKET.topics_per_connection} topics a connection; {MARKET.connections_per_address} "
            f"connections and {MARKET.topics_per_address} subscriptions an address"
        ),
        f"{MARKET.connections} connections and {MARKET.topics:,} different topics a process",
        f"fetched, up to {FILLED_MAX:,} candles",
        f"The others say every {RELAY.tell_wishes:g} seconds",
        f"up to {ROWS_UNTAKEN_MAX:,} waiting rows",
    ],
    "docs/authentication.md": [f"An account has at most {API_KEYS_MAX} keys"],
    "README.md": [
        (
            f"({LOGINS.per_account_max} wrong passwords for one account from one address in "
            f"{LOGINS.window.total_seconds() / 60:g} minutes, {LOGINS.per_origin_max} for all"
        ),
        f"for at most {QUERY_SECONDS_MAX / 60:g} minutes (`timeout_seconds`) and {ROWS_MAX:,} rows",
    ],
    "CHANGELOG.md": [f"is left alone for {PROBE_SECONDS:g} seconds"],
}


@pytest.mark.parametrize("page", PROMISES)
def test_every_limit_that_a_page_names_is_the_limit_in_the_code(page: str) -> None:
    text = (PROJECT / page).read_text(encoding="utf-8")
    assert [promise for promise in PROMISES[page] if promise not in text] == []
