"""DataFrames: how quickly a large result arrives, in how much memory, and how wrong its prices are.

    python -m bench.frames --rows 1000000 --rounds 3

Every way reads the same seven columns in a process of its own, by turns. What is not installed
is said to be missing: pip install -r requirements-bench.txt.
"""

import argparse
import asyncio
import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from decimal import Decimal, localcontext
from statistics import median
from typing import Any, Final
from urllib.parse import quote

import asyncpg
import uvloop
from app.core.config import PROJECT, Settings
from app.db.address import DatabaseAddress
from app.db.database import query_to_dataframe

from bench.installation import open_installation
from bench.report import Aim, print_aims

QUERY: Final = "SELECT id, symbol, at, price, quantity, fee, note FROM bench_frames"
TRUTH: Final = "SELECT id, price::text FROM bench_frames WHERE id % 97 = 0"
MISSING: Final = 3
"""What a child process exits with that could not import what it measures."""

FILLING: Final = """
    SELECT setseed(0.5);
    CREATE UNLOGGED TABLE bench_frames AS
    SELECT id, (ARRAY['BTCUSDT', 'ETHUSDT', 'SOLUSDT'])[1 + id % 3] AS symbol,
        timestamptz '2026-01-01Z' + id * interval '1.000001 second' AS at,
        (10000 + floor(random() * 90000) || '.' || lpad(floor(random() * 1e10)::text, 10, '0')
            || lpad(floor(random() * 1e10)::text, 10, '0'))::numeric(30,20) AS price,
        (floor(random() * 1e15) / 1e20 * 1e3)::numeric(30,20) AS quantity,
        (random() / 3)::numeric(30,20) AS fee,
        CASE WHEN id % 10 > 0 THEN 'note ' || id END AS note
    FROM generate_series(1::bigint, {rows}) AS id;
    ANALYZE bench_frames
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One reading of the whole result."""

    rows: int
    seconds: float
    peak_bytes: int
    price_type: str
    largest_error: str

    @property
    def is_exact(self) -> bool:
        """Whether no price that was looked at differs in any digit, and all are numbers."""
        return Decimal(self.largest_error) == 0 and "str" not in self.price_type.lower()


def _settings(address: DatabaseAddress) -> Settings:
    return Settings(
        _env_file=None, db_host=address.host, db_port=address.port, db_name=address.database,
        db_user=address.user, db_password=address.password or "unused",
    )  # fmt: skip


def _uri(address: DatabaseAddress) -> str:
    """As libpq and Rust's driver read it, a socket folder as host included."""
    user = quote(address.user, safe="")
    secret = "" if address.password is None else ":" + quote(address.password, safe="")
    host = quote(address.host, safe="")
    return f"postgresql://{user}{secret}@{host}:{address.port}/{address.database}"


Way = Callable[[DatabaseAddress, str], Awaitable[Any]]


def _ours(**options: Any) -> Way:
    async def read(address: DatabaseAddress, query: str) -> Any:
        return await query_to_dataframe(
            query, rows_max=None, timeout_seconds=None, settings=_settings(address), **options
        )

    return read


async def _records(address: DatabaseAddress, query: str) -> Any:
    pandas = importlib.import_module("pandas")
    connection = await asyncpg.connect(**address.connect_arguments())
    records = await connection.fetch(query)
    await connection.close()
    return pandas.DataFrame.from_records(records, columns=list(records[0].keys()))


async def _read_sql(address: DatabaseAddress, query: str) -> Any:
    pandas, sqlalchemy = importlib.import_module("pandas"), importlib.import_module("sqlalchemy")
    url = sqlalchemy.URL.create(
        "postgresql+psycopg", username=address.user, password=address.password,
        database=address.database, query={"host": address.host, "port": str(address.port)},
    )  # fmt: skip
    with sqlalchemy.create_engine(url).connect() as connection:
        return pandas.read_sql(sqlalchemy.text(query), connection)


async def _adbc(address: DatabaseAddress, query: str) -> Any:
    dbapi = importlib.import_module("adbc_driver_postgresql.dbapi")
    with (
        closing(dbapi.connect(_uri(address))) as connection,
        closing(connection.cursor()) as cursor,
    ):
        cursor.execute(query)
        return cursor.fetch_arrow_table()


async def _adbc_cast(address: DatabaseAddress, query: str) -> Any:
    pa = importlib.import_module("pyarrow")
    table = await _adbc(address, query)
    for name in ("price", "quantity", "fee"):
        place = table.schema.get_field_index(name)
        stored = table.column(name)
        chunks = [getattr(chunk, "storage", chunk) for chunk in stored.chunks]
        cast = pa.chunked_array(chunks, pa.string()).cast(pa.decimal128(38, 20))
        table = table.set_column(place, name, cast)
    return table


def _connectorx(return_type: str) -> Way:
    async def read(address: DatabaseAddress, query: str) -> Any:
        connectorx = importlib.import_module("connectorx")
        return connectorx.read_sql(_uri(address), query, return_type=return_type)

    return read


OURS: Final = "goblin: Arrow, exact"
WAYS: Final[dict[str, Way]] = {
    OURS: _ours(engine="arrow", exact=True),
    "goblin: polars, exact": _ours(engine="polars", exact=True),
    "goblin: pandas, exact (Decimal objects)": _ours(exact=True),
    "goblin: pandas": _ours(),
    "asyncpg Records to pandas": _records,
    "pandas.read_sql (SQLAlchemy, psycopg)": _read_sql,
    "ADBC to Arrow": _adbc,
    "ADBC to Arrow, cast to decimal128": _adbc_cast,
    "connectorx to pandas": _connectorx("pandas"),
    "connectorx to Arrow": _connectorx("arrow"),
}


async def _read_once(name: str, address: DatabaseAddress) -> Sample:
    """In the child: read, look at the memory, and only then at what is wrong."""
    await WAYS[name](address, QUERY + " LIMIT 1")  # what is imported is not measured
    begun = time.perf_counter()
    frame = await WAYS[name](address, QUERY)
    seconds = time.perf_counter() - begun
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    ids, prices = (_values(frame, column) for column in ("id", "price"))
    read = dict(zip(ids, prices, strict=True))
    connection = await asyncpg.connect(**address.connect_arguments())
    truth = await connection.fetch(TRUTH)
    await connection.close()
    with localcontext(prec=80):
        errors = [abs(Decimal(read[row["id"]]) - Decimal(row["price"])) for row in truth]
        largest = max(errors, default=Decimal(0))
    kind = frame["price"].type if hasattr(frame["price"], "type") else frame["price"].dtype
    return Sample(
        rows=len(read), seconds=seconds, peak_bytes=peak_bytes,
        price_type=str(kind), largest_error=f"{largest:.1e}",
    )  # fmt: skip


def _values(frame: Any, column: str) -> Sequence[Any]:
    values = frame[column]
    for spelled in ("to_pylist", "to_list", "tolist"):
        if hasattr(values, spelled):
            found: Sequence[Any] = getattr(values, spelled)()
            return found
    raise TypeError(type(values))


async def _in_child(name: str, address: DatabaseAddress) -> Sample | None:
    """One reading in a process of its own, or None where something is not installed."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.frames", "--child", name, "--address",
        json.dumps(address.connect_arguments()),
        cwd=PROJECT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )  # fmt: skip
    out, problem = await child.communicate()
    if child.returncode == MISSING:
        print(f"  !! MISSING, NOT MEASURED: {name}: {problem.decode().strip()}")
        return None
    if child.returncode != 0:
        print(f"  !! FAILED, NOT MEASURED: {name}: {problem.decode().strip().splitlines()[-1:]}")
        return None
    return Sample(**json.loads(out))


async def run(*, rows: int, rounds: int, names: Sequence[str] = tuple(WAYS)) -> list[Aim]:
    """Measure by turns in a scratch installation, and print."""
    async with open_installation() as installation:
        connection = await asyncpg.connect(**installation.address.connect_arguments())
        await connection.execute(FILLING.format(rows=rows))
        await connection.close()
        print(
            f"{rows:,} rows of 7 columns, 3 of them NUMERIC(30,20); {rounds} rounds by turns; "
            "every 97th price is compared"
        )
        samples: dict[str, list[Sample]] = {name: [] for name in names}
        absent: set[str] = set()
        for _ in range(rounds):
            for name in names:
                if name not in absent:
                    sample = await _in_child(name, installation.address)
                    if sample is None:
                        absent.add(name)
                    else:
                        samples[name].append(sample)
    return _report({name: found for name, found in samples.items() if found})


def _report(samples: dict[str, list[Sample]]) -> list[Aim]:
    print(f"  {'':<42}{'rows/s':>11}{'ratio':>7}{'peak MiB':>10}  {'largest error':<15}price is")
    for name, found in samples.items():
        last = found[-1]
        print(
            f"  {name:<42}{median(s.rows / s.seconds for s in found):>11,.0f}"
            f"{_ratio(found, samples[OURS]):>7.2f}"
            f"{max(s.peak_bytes for s in found) / 2**20:>10,.0f}  "
            f"{'none' if Decimal(last.largest_error) == 0 else last.largest_error:<15}"
            f"{last.price_type}"
        )
    return [
        Aim(
            text=f"{OURS}, of {name}" + ("" if found[-1].is_exact else " (no exact number)"),
            measured=1 / _ratio(found, samples[OURS]),
            wanted_min=1.0,
        )
        for name, found in samples.items()
        if not name.startswith("goblin")
    ]


def _ratio(found: Sequence[Sample], to: Sequence[Sample]) -> float:
    """The median of the rounds' own ratios of rows a second."""
    return median(
        (a.rows / a.seconds) / (b.rows / b.seconds) for a, b in zip(found, to, strict=True)
    )


def main(arguments: list[str] | None = None) -> int:
    """Measure, or be one measured process."""
    parser = argparse.ArgumentParser(prog="scripts/bench frames", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--address", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        address = DatabaseAddress(**json.loads(options.address))
        try:
            print(json.dumps(asdict(asyncio.run(_read_once(options.child, address)))))
        except ImportError as missing:
            print(f"{missing} (pip install -r requirements-bench.txt)", file=sys.stderr)
            return MISSING
        return 0
    print_aims(uvloop.run(run(rows=options.rows, rounds=options.rounds)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
