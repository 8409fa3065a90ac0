"""Market data on the wire."""

from pydantic import BaseModel, Field

from app.domain.instruments import Category
from app.domain.quotes import Quote


class PriceOut(BaseModel):
    """The last price at the venue, in the venue's own spelling without an exponent."""

    symbol: str = Field(examples=["BTCUSDT"])
    category: Category = Field(examples=["spot"])
    price: str = Field(examples=["104000.5"])
    upstream_time_ms: int = Field(examples=[1748623140000])

    @classmethod
    def of(cls, quote: Quote) -> "PriceOut":
        """The wire form of a quote."""
        return cls(
            symbol=quote.symbol,
            category=quote.category,
            price=quote.price_text,
            upstream_time_ms=quote.upstream_time_ms,
        )
