"""Tick sizes and lot rules of what is traded: known ones from a table, others from their data.

The numbers are Bybit's of 2025; Decimals keep their zeros because linear and inverse tickers
are padded with them (`29197.40` at a tick of `0.10`).
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from app.domain.instruments import Category

QUOTE_COINS: Final = ("USDT", "USDC", "USDE", "USD", "EUR", "BTC", "ETH")
DECIMALS_MAX: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class InstrumentSpec:
    """What does not change about an instrument."""

    category: Category
    symbol: str
    base_coin: str
    quote_coin: str
    tick: Decimal
    quantity_step: Decimal
    quantity_min: Decimal
    amount_min: Decimal = Decimal(5)  # in the quote coin

    @property
    def settle_coin(self) -> str:
        """What profit is paid in."""
        return self.base_coin if self.category is Category.INVERSE else self.quote_coin


# symbol: tick, quantity step, minimum quantity
_SPOT: Final = {
    "BTCUSDT": ("0.1", "0.000001", "0.000011"),
    "ETHUSDT": ("0.01", "0.00001", "0.00029"),
    "SOLUSDT": ("0.01", "0.001", "0.006"),
    "XRPUSDT": ("0.0001", "0.01", "0.44"),
    "DOGEUSDT": ("0.00001", "0.1", "3"),
    "LTCUSDT": ("0.01", "0.00001", "0.00923"),
    "BNBUSDT": ("0.1", "0.0001", "0.0019"),
    "ADAUSDT": ("0.0001", "0.01", "1.07"),
}
_LINEAR: Final = {
    "BTCUSDT": ("0.10", "0.001", "0.001"),
    "ETHUSDT": ("0.01", "0.01", "0.01"),
    "SOLUSDT": ("0.010", "0.1", "0.1"),
    "XRPUSDT": ("0.0001", "1", "1"),
    "DOGEUSDT": ("0.00001", "1", "1"),
    "LTCUSDT": ("0.01", "0.1", "0.1"),
    "BNBUSDT": ("0.10", "0.01", "0.01"),
    "ADAUSDT": ("0.0001", "1", "1"),
}
_INVERSE: Final = {
    "BTCUSD": ("0.10", "1", "1"),
    "ETHUSD": ("0.01", "1", "1"),
    "SOLUSD": ("0.01", "1", "1"),
    "XRPUSD": ("0.0001", "1", "1"),
    "DOGEUSD": ("0.00001", "1", "1"),
    "LTCUSD": ("0.01", "1", "1"),
    "ADAUSD": ("0.0001", "1", "1"),
}
_KNOWN: Final = {
    Category.SPOT: _SPOT,
    Category.LINEAR: _LINEAR,
    Category.INVERSE: _INVERSE,
    Category.OPTION: {},
}


def known_spec(category: Category, symbol: str) -> InstrumentSpec | None:
    """The table's entry, or None for a symbol that it does not have."""
    rules = _KNOWN[category].get(symbol)
    if rules is None:
        return None
    tick, quantity_step, quantity_min = (Decimal(rule) for rule in rules)
    base_coin, quote_coin = coins(symbol)
    return InstrumentSpec(
        category=category,
        symbol=symbol,
        base_coin=base_coin,
        quote_coin=quote_coin,
        tick=tick,
        quantity_step=quantity_step,
        quantity_min=quantity_min,
    )


def spec_like(
    category: Category, symbol: str, *, price_decimals: int, volume_decimals: int
) -> InstrumentSpec:
    """A plausible entry for an unknown symbol: as fine as its recorded numbers are."""
    step = Decimal(1).scaleb(-min(volume_decimals, DECIMALS_MAX))
    base_coin, quote_coin = coins(symbol)
    return InstrumentSpec(
        category=category,
        symbol=symbol,
        base_coin=base_coin,
        quote_coin=quote_coin,
        tick=Decimal(1).scaleb(-price_decimals),
        quantity_step=step,
        quantity_min=step,
    )


def coins(symbol: str) -> tuple[str, str]:
    """Base and quote coin of a symbol such as BTCUSDT or BTC-27MAR26-70000-P-USDT."""
    first, *rest = symbol.split("-")
    if len(rest) > 1:
        return first, rest[-1] if rest[-1] in QUOTE_COINS else "USD"
    for quote_coin in QUOTE_COINS:
        if first.endswith(quote_coin) and first != quote_coin:
            return first.removesuffix(quote_coin), quote_coin
    return first, "USDC"  # BTCPERP and its like are quoted in USDC
