"""Technical indicators, one candle at a time; the whole series at once is app.analysis.

What holds for all of them:

- Values are float64: indicators are statistics about prices, never money.
- **Warm-up**: NaN until enough candles were seen; each class says how many. A series that is
  too short is NaN all over.
- **A gap** (a NaN or infinite input) answers NaN and forgets everything: what follows is
  warmed up like a new series, so that no value ever mixes both sides.
- **Undefined** stays NaN instead of becoming a number that reads like a signal: the RSI of a
  price that never moved is 0 divided by 0. TA-Lib answers 0 there (oversold).
- **Seeds** are TA-Lib's: an exponential average begins with the plain mean of its first
  `period` values, and so do Wilder's averages.
- A window is added up from its oldest value to its newest, as differences from the oldest: no
  error accumulates however long the series is, and the mean of equal values is that value.
- app.analysis does the same arithmetic in the same order, so both agree to the last bit.

Sources: J. Welles Wilder, New Concepts in Technical Trading Systems (1978) for RSI, ATR, ADX;
John Bollinger, Bollinger on Bollinger Bands (2001); Gerald Appel for MACD; George Lane for
the stochastic oscillator; Joseph Granville for OBV; Richard Donchian for his channel; Olivier
Seban for Supertrend; the conventions of TA-Lib (ta-lib.org) wherever they leave a choice.
"""

from app.domain.indicators.averages import Ema, Sma, Wma
from app.domain.indicators.bands import Atr, Bollinger, Donchian
from app.domain.indicators.oscillators import Macd, Roc, Rsi, Stochastic
from app.domain.indicators.trend import Adx, Supertrend
from app.domain.indicators.values import (
    AdxValue,
    Bands,
    MacdValue,
    StochasticValue,
    SupertrendValue,
)
from app.domain.indicators.volume import Obv, Vwap

__all__ = [
    "Adx",
    "AdxValue",
    "Atr",
    "Bands",
    "Bollinger",
    "Donchian",
    "Ema",
    "Macd",
    "MacdValue",
    "Obv",
    "Roc",
    "Rsi",
    "Sma",
    "Stochastic",
    "StochasticValue",
    "Supertrend",
    "SupertrendValue",
    "Vwap",
    "Wma",
]
