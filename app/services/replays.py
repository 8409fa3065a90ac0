"""What is different where the market is a replay."""

from app.db.dao import candles, instruments
from app.db.database import Database


async def forget_market(db: Database) -> None:
    """Forget candles and instruments; accounts, orders and ledgers stay as they are.

    Two recordings contradict each other, and one that starts anew has no future yet. Nothing
    is lost: the recording has it all.
    """
    async with db.transaction() as conn:
        await candles.truncate_candles(conn)
        await instruments.truncate_instruments(conn)
