"""Settings from the environment and .env, read once at the edge and passed inwards.

docs/settings.md is generated from the fields below.
"""

import re
from decimal import Decimal
from io import StringIO
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from dotenv.parser import parse_stream
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    HttpUrl,
    SecretStr,
    TypeAdapter,
    ValidationError,
    WebsocketUrl,
    WithJsonSchema,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.domain.money import PLAIN_DECIMAL, is_amount

PROJECT: Final = Path(__file__).resolve().parents[2]
JWT_SECRET_BYTES_MIN: Final = {"HS256": 32, "HS384": 48, "HS512": 64}
PASSWORD_ROUNDS: Final = 12
"""More than the least that OWASP asks of bcrypt (10): the hash is made once a login."""
METRICS_TOKEN_CHARACTERS_MIN: Final = 16
REPLAY_ENDING: Final = "_replay"
"""Of the name of a database that holds replays: what happens there never happened."""
DB_NAME_BYTES_MAX: Final = 63
"""PostgreSQL cuts off the rest without a word."""
WELL_KNOWN_SECRETS: Final = frozenset(
    {"change_me", "changeme", "secret", "your-secret-key", "password", "goblin", "jwt_secret"}
)

ORIGIN: Final = re.compile(
    r"https?://([a-z0-9-]+(\.[a-z0-9-]+)*|\[[0-9a-f:]+\])(:[0-9]{1,5})?", re.ASCII
)


class SettingsError(Exception):
    """The start stops here; the text names each wrong key and what was expected."""


def _url(text: object) -> str:
    return str(TypeAdapter(HttpUrl).validate_python(text)).rstrip("/")


def _folder(path: Path) -> Path:
    """Not relative to where somebody stands: a notebook would begin a database of its own."""
    try:
        return PROJECT / path.expanduser()
    except RuntimeError as error:  # ~nobody
        raise ValueError(f"expected a folder: {error}") from None


def _stream_url(text: object) -> str:
    return str(TypeAdapter(WebsocketUrl).validate_python(text)).rstrip("/")


def _starting_balance(text: object) -> Decimal:
    spelled = str(text).strip()
    if PLAIN_DECIMAL.fullmatch(spelled) is None or not is_amount(Decimal(spelled)):
        raise ValueError("expected a plain decimal from 0 to below 10^10 with at most 20 decimals")
    return Decimal(spelled)


def origins(text: str) -> tuple[str, ...]:
    """The origins of a comma-separated list, as browsers spell them."""
    found = tuple(filter(None, (item.strip() for item in text.split(","))))
    for item in found:
        if ORIGIN.fullmatch(item) is None:
            raise ValueError(
                "expected origins as a browser sends them, separated by commas, for example "
                f"https://desk.example.com, http://localhost:5173, and {item!r} is none"
            )
    return found


def _origins(text: str) -> str:
    origins(text)
    return text


OriginList = Annotated[
    str,
    AfterValidator(_origins),
    WithJsonSchema({"type": "string", "format": "origins, separated by commas"}),
]


def _metrics_token(token: SecretStr) -> SecretStr:
    text = token.get_secret_value()
    if len(text) < METRICS_TOKEN_CHARACTERS_MIN or not (text.isascii() and text.isprintable()):
        raise ValueError("expected at least 16 printable ASCII characters")
    return token


def networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """The IP networks of a comma-separated list; an address is a network of one."""
    found = []
    for item in filter(None, (item.strip() for item in text.split(","))):
        try:
            found.append(ip_network(item))
        except ValueError:
            raise ValueError(
                "expected IP addresses or networks separated by commas, for example "
                f"127.0.0.1, 10.0.0.0/8, and {item!r} is neither"
            ) from None
    return tuple(found)


def _networks(text: str) -> str:
    networks(text)
    return text


Networks = Annotated[
    str,
    AfterValidator(_networks),
    WithJsonSchema({"type": "string", "format": "IP addresses or networks, separated by commas"}),
]
Url = Annotated[
    str, BeforeValidator(_url), WithJsonSchema({"type": "string", "format": "http or https URL"})
]
StreamUrl = Annotated[
    str,
    BeforeValidator(_stream_url),
    WithJsonSchema({"type": "string", "format": "ws or wss URL"}),
]
StartingBalance = Annotated[
    Decimal,
    BeforeValidator(_starting_balance),
    WithJsonSchema({"type": "string", "format": "decimal from 0 to below 10^10"}),
]


MetricsToken = Annotated[
    SecretStr,
    AfterValidator(_metrics_token),
    WithJsonSchema({"type": "string", "format": "at least 16 printable ASCII characters"}),
]


class Settings(BaseSettings):
    """Every key is optional; a wrong value stops the start."""

    model_config = SettingsConfigDict(
        env_file_encoding="utf-8",
        extra="ignore",
        case_sensitive=False,
        env_ignore_empty=True,
        frozen=True,
        hide_input_in_errors=True,
    )

    environment: Literal["development", "production"] = Field(
        "development",
        description="`production` refuses to start with a missing, short or well-known JWT secret.",
    )
    db_host: str | None = Field(
        None,
        description="Your own PostgreSQL (15 or later). Without it goblin runs an embedded one.",
    )
    db_port: int = Field(5432, ge=1, le=65535, description="Port of your own PostgreSQL.")
    db_name: str = Field(
        "goblin",
        min_length=1,
        description="Database name; a replay's is this and `_replay`.",
    )
    db_user: str = Field("postgres", min_length=1, description="Database user.")
    db_password: SecretStr = Field(SecretStr("postgres"), description="Database password.")
    db_pool_size: int = Field(
        20, ge=2, le=1000, description="Most connections that one process opens."
    )
    orders_per_commit_max: int = Field(
        64,
        ge=1,
        le=1000,
        description="Most money requests that share a transaction; 1 gives each its own.",
    )
    data_dir: Annotated[Path, AfterValidator(_folder)] = Field(
        PROJECT / "data",
        description="Folder of the embedded database and the generated JWT secret; a relative "
        "one is beside `.env`, from wherever goblin is used.",
    )
    jwt_secret_key: SecretStr | None = Field(
        None,
        description="Signs the tokens; at least 32 bytes for HS256, 48 for HS384, 64 for HS512. "
        "In development one is generated once and kept in DATA_DIR.",
    )
    jwt_algorithm: Literal["HS256", "HS384", "HS512"] = Field(
        "HS256", description="The only algorithm that tokens are accepted with."
    )
    jwt_expires_minutes: int = Field(
        60, ge=1, le=525_600, description="How long a token is valid, in minutes."
    )
    refresh_token_days: int = Field(
        30, ge=1, le=3650, description="How long a session lasts that is not renewed, in days."
    )
    password_rounds: int = Field(
        PASSWORD_ROUNDS,
        ge=10,
        le=16,
        description="bcrypt's work factor: 12 take about a quarter of a second, each more doubles "
        "it. Hashes of fewer rounds are renewed when their owner logs in.",
    )
    registration: Literal["open", "closed", "first"] = Field(
        "open",
        description="Who may register: anybody (`open`), nobody (`closed`), or only the first "
        "user, who is the administrator (`first`).",
    )
    price_source: Literal["bybit", "binance"] = Field(
        "bybit", description="The venue whose prices are quoted and filled at."
    )
    price_max_age_seconds: float = Field(
        1.0,
        ge=0,
        le=60,
        allow_inf_nan=False,
        description="How long before a request the venue may have been asked for its price.",
    )
    bybit_base_url: Url = Field(
        "https://api.bybit.com",
        description="Public market data, no key. Testnet (its prices are not real): "
        "https://api-testnet.bybit.com",
    )
    market_streams: Literal["on", "off"] = Field(
        "on",
        description="Whether prices that somebody follows are streamed; without, each is asked "
        "for. Bybit only.",
    )
    bybit_stream_url: StreamUrl | None = Field(
        None,
        description="Bybit's public WebSocket. Without it, the one that belongs to "
        "BYBIT_BASE_URL: wss://stream.bybit.com, that of the testnet, or a replay exchange's.",
    )
    bybit_timeout_seconds: float = Field(
        10.0, gt=0, le=120, allow_inf_nan=False, description="Longest wait for a price, in all."
    )
    binance_api_url: Url = Field(
        "https://api.binance.com", description="Binance spot, with PRICE_SOURCE=binance."
    )
    aster_api_url: Url = Field(
        "https://fapi.asterdex.com", description="AsterDEX futures: candles and instruments."
    )
    strict_lots: bool = Field(
        False,
        description="Whether an order has to keep the venue's lot rules for its instrument.",
    )
    candle_retention_days: int = Field(
        0,
        ge=0,
        le=36_500,
        description="How long candles are kept; whole months are dropped. 0 keeps them all.",
    )
    starting_balance: StartingBalance = Field(Decimal(0), description="What a new account holds.")
    rate_limit_per_minute: int = Field(
        6000,
        ge=0,
        le=10_000_000,
        description="How many requests a minute one credential, or without a good one an address, "
        "may make of one process, all at once if it likes; 0 sets no limit.",
    )
    cors_origins: OriginList | None = Field(
        None,
        description="Origins of the web pages that may call goblin from a browser. Without any, "
        "only pages that goblin serves itself may.",
    )
    docs_enabled: bool = Field(
        True,
        description="Whether /docs, /redoc and /openapi.json are served.",
    )
    registrations_per_hour: int = Field(
        100, ge=1, le=1_000_000, description="How many accounts one address may ask for an hour."
    )
    trusted_proxies: Networks | None = Field(
        None,
        description="Proxies whose X-Forwarded-For is believed. Without any, everybody is who "
        "the connection comes from.",
    )
    host: str = Field("127.0.0.1", min_length=1, description="Address that the API listens on.")
    port: int = Field(8000, ge=0, le=65535, description="Port of the API; 0 picks a free one.")
    connections_max: int = Field(
        5000,
        ge=1,
        le=100_000,
        description="Most connections of one process; further ones are answered 503.",
    )
    shutdown_seconds: int = Field(
        10,
        ge=0,
        le=600,
        description="How long running requests may go on after SIGTERM or Ctrl-C.",
    )
    metrics: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Whether GET /metrics exists; `auto` is off in production unless there is a "
        "METRICS_TOKEN.",
    )
    metrics_token: MetricsToken | None = Field(
        None, description="Without this bearer token GET /metrics answers 401."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Least severe log line that is written."
    )
    log_format: Literal["auto", "json", "text"] = Field(
        "auto", description="`auto` is text on a terminal and one JSON object per line elsewhere."
    )

    @property
    def is_replay(self) -> bool:
        """Whether these are the settings of a replay, which has a database of its own."""
        return self.db_name.endswith(REPLAY_ENDING)

    def for_replay(self) -> "Settings":
        """The same with the database of replays. Raises SettingsError."""
        if self.is_replay:
            return self
        name = f"{self.db_name}{REPLAY_ENDING}"
        if len(name.encode()) > DB_NAME_BYTES_MAX:
            raise SettingsError(
                f"a replay would use the database {name}, and PostgreSQL's names have at most "
                f"{DB_NAME_BYTES_MAX} bytes: choose a shorter DB_NAME"
            )
        return self.model_copy(update={"db_name": name})

    @property
    def metrics_shown(self) -> bool:
        """Whether there is a GET /metrics."""
        if self.metrics == "auto":
            return self.environment != "production" or self.metrics_token is not None
        return self.metrics == "on"

    @model_validator(mode="after")
    def _a_secret_is_long_enough_and_in_production_a_real_one(self) -> "Settings":
        secret = "" if self.jwt_secret_key is None else self.jwt_secret_key.get_secret_value()
        is_production = self.environment == "production"
        bytes_min = JWT_SECRET_BYTES_MIN[self.jwt_algorithm]
        if not secret and is_production:
            problem = "is missing"
        elif is_production and (secret.lower() in WELL_KNOWN_SECRETS or len(set(secret)) < 8):  # noqa: PLR2004 - different letters
            problem = "is well known or trivial"
        elif secret and len(secret.encode()) < bytes_min:
            problem = "is too short"
        else:
            return self
        raise ValueError(
            f"JWT_SECRET_KEY {problem}: {self.jwt_algorithm} expects at least {bytes_min} random "
            'bytes, for example of: python3 -c "import secrets; print(secrets.token_urlsafe(48))"'
        )


def load_settings(*, env_file: Path | None = PROJECT / ".env", **overrides: Any) -> Settings:
    """Read the environment, then .env; `overrides` win over both. Raises SettingsError."""
    if env_file is not None and env_file.is_file():
        _check_lines(env_file)
    try:
        return Settings(_env_file=env_file, **overrides)
    except ValidationError as error:
        lines = [_explain(problem["loc"], problem["msg"]) for problem in error.errors()]
        raise SettingsError("wrong configuration:\n" + "\n".join(lines)) from None


def _check_lines(env_file: Path) -> None:
    """Refuse a file of which a part would not count: a secret in it would be another one."""
    try:
        text = env_file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SettingsError(f"cannot read {env_file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{env_file} is not UTF-8 text: save it as such") from None
    for binding in parse_stream(StringIO(text)):
        if binding.error:
            written = binding.original.string
            before = written[: len(written) - len(written.lstrip())]  # empty lines are its own
            line = binding.original.line + before.count("\n")
            # Without the line itself, which may hold a secret.
            raise SettingsError(
                f"{env_file}, line {line}: expected KEY=value, for example "
                "PORT=8001; quotes around a value have to be closed"
            )


def _explain(location: tuple[int | str, ...], message: str) -> str:
    text = message.removeprefix("Value error, ")
    if not location:
        return f"  {text}"
    key = str(location[0]).upper()
    return f"  {key}: {text} (environment or .env)"
