"""The application: `uvicorn app.main:app`, or `python -m app serve`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from fastapi import FastAPI

from app.core.config import Settings, load_settings, networks, origins
from app.core.constants import VERSION
from app.core.logging import keep_frames_out_of_the_log
from app.http.docs import install_docs
from app.http.errors import install_error_handlers
from app.http.head import HeadAsGet
from app.http.metrics import MeasureRequests, install_metrics
from app.http.middleware import BodyLimit, RequestContext, answer_unknown_path
from app.http.openapi import DescribedApp
from app.http.origins import Origins
from app.http.proxies import KnownProxies
from app.http.rate_limit import RateLimit
from app.http.short_way import ShortWays
from app.resources import open_resources
from app.routers import (
    account,
    admin,
    api_keys,
    auth,
    candles,
    events,
    export,
    indicators,
    instruments,
    ledger,
    live,
    log,
    market,
    market_stream,
    order,
    strategy,
    system,
    trade_strategy,
    users,
    watchlist,
)

ROUTERS: Final = (
    order.router,  # the first is found soonest
    system.router,
    auth.router,
    api_keys.router,
    users.router,
    market.router,
    candles.router,
    indicators.router,
    instruments.router,
    live.router,
    market_stream.router,
    ledger.router,
    account.router,
    watchlist.router,
    log.router,
    strategy.router,
    trade_strategy.router,
    events.router,
    export.router,
    admin.router,
)


def create_app(settings: Settings | None = None, *, worker: int | None = None) -> FastAPI:
    """An application with its own resources; settings come from the environment by default.

    `worker` is the number of this process where several serve one port.
    """
    known = load_settings() if settings is None else settings
    keep_frames_out_of_the_log()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_resources(known) as resources:
            app.state.resources = resources
            yield

    app = DescribedApp(
        title="goblin",
        summary="A self-hosted trading sandbox: real market prices, paper money.",
        version=VERSION,
        openapi_tags=[router.described_tag for router in ROUTERS],
        lifespan=lifespan,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,  # docs.py serves it, put into words once
        telemetry={"tracing": False, "metrics": False, "logs": False},  # nobody reads it
    )
    install_error_handlers(app)
    app.router.default = answer_unknown_path
    if known.docs_enabled:
        install_docs(app)
    install_metrics(app, shown=known.metrics_shown, token=known.metrics_token, worker=worker)
    for router in ROUTERS:
        # They know their prefix and tag. include_router() would make each of them once more, at
        # the first request that FastAPI sees: a fifth of a second in which nobody is served.
        app.router.routes += router.routes
    app.add_middleware(ShortWays, routers=ROUTERS)
    app.add_middleware(HeadAsGet)
    app.add_middleware(BodyLimit)
    if known.rate_limit_per_minute:
        app.add_middleware(RateLimit, per_minute=known.rate_limit_per_minute)
    app.add_middleware(RequestContext)
    app.add_middleware(Origins, allowed=origins(known.cors_origins or ""))
    app.add_middleware(MeasureRequests)
    app.add_middleware(KnownProxies, trusted=networks(known.trusted_proxies or ""))
    return app


def __getattr__(name: str) -> Any:
    """Build `app` when a server asks for it, so that importing this module reads no settings."""
    if name == "app":
        return create_app()
    raise AttributeError(name)
