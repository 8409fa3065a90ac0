"""The notebooks run top to bottom against a real server, and their numbers are right."""

import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import goblin
import nbformat
import pytest
import pytest_asyncio
from app.core.config import PROJECT
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from tests.client.conftest import token_of
from tests.conftest import Person

NOTEBOOKS = PROJECT / "notebooks"
CELL_SECONDS_MAX = 50


@pytest_asyncio.fixture(scope="module")
async def kernel(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[AsyncKernelManager]:
    """One for all notebooks: to start it and to import pandas costs more than to run them."""
    folder = tmp_path_factory.mktemp("k")
    manager = AsyncKernelManager(transport="ipc", connection_file=str(folder / "kernel.json"))
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "IPYTHONDIR": str(folder)}
    await manager.start_kernel(env=environment, cwd=str(NOTEBOOKS))
    yield manager
    await manager.shutdown_kernel(now=True)


Run = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
def run(kernel: AsyncKernelManager, url: str, somebody: Person, tmp_path: Path) -> Run:
    async def executed(
        name: str, shown: dict[str, str], *, key: str = token_of(somebody)
    ) -> dict[str, Any]:
        """What these expressions are after the last cell. Raises CellExecutionError."""
        notebook: Any = nbformat.read(NOTEBOOKS / name, as_version=4)
        texts = ", ".join(f"{label!r}: {expression}" for label, expression in shown.items())
        # By a file: nbclient logs every cell, and no log may have a key.
        variables = tmp_path / "variables.json"
        variables.write_text(json.dumps({"GOBLIN_URL": url, "GOBLIN_API_KEY": key}))
        setting = f"os.environ.update(json.loads(Path({str(variables)!r}).read_text()))"
        notebook.cells.insert(0, code(f"import json, os\nfrom pathlib import Path\n{setting}"))
        notebook.cells.insert(0, code("%reset -f"))
        notebook.cells.append(code(f"import json\nprint(json.dumps({{{texts}}}, default=str))"))
        running = NotebookClient(notebook, km=kernel, timeout=CELL_SECONDS_MAX)
        try:
            await running.async_execute()
        finally:
            assert running.kc is not None
            running.kc.stop_channels()
        found: dict[str, Any] = json.loads(notebook.cells[-1].outputs[0].text)
        return found

    return executed


def code(text: str) -> Any:
    return nbformat.v4.new_code_cell(text)


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.name)
def test_a_notebook_is_kept_without_what_it_printed_once(path: Path) -> None:
    notebook: Any = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(code) > 5
    assert all(not cell.outputs and cell.execution_count is None for cell in code)


async def test_the_first_steps_lead_where_they_say(run: Run, client: goblin.AsyncClient) -> None:
    found = await run(
        "01-first-steps.ipynb",
        {
            "end": "end",
            "profit": "closed.profit",
            "code": "mistake.code",
            "last": "events['number'].max()",
        },
    )
    assert Decimal(found["end"]) == (await client.me()).balance
    (order,) = await client.orders().all()
    assert Decimal(found["profit"]) == order.profit
    assert found["code"] == "insufficient_balance"
    assert found["last"] == str((await client.event_history().all())[-1].number)


async def test_the_insight_is_what_the_log_says(run: Run, client: goblin.AsyncClient) -> None:
    """Against the same computed by hand."""
    found = await run(
        "02-from-log-to-insight.ipynb",
        {
            "columns": "list(log.columns)",
            "insight": "insight.to_dict('index')",
            "rows": "len(exported)",
        },
    )
    entries = sorted(await client.logs().all(), key=lambda entry: str(entry.data["at"]))
    assert found["rows"] == len(entries) == 60
    assert {"close", "features.rsi", "features.atr", "low", "high"} <= set(found["columns"])
    closes = [Decimal(entry.data["close"]) for entry in entries]
    for action in ("buy", "sell", "hold"):
        at = [i for i, entry in enumerate(entries) if entry.action == action]
        if not at:
            assert action not in found["insight"]
            continue
        row = found["insight"][action]
        assert row["decisions"] == len(at)
        rsi = sum(entries[i].data["features"]["rsi"] for i in at) / len(at)
        assert row["rsi"] == pytest.approx(float(rsi), rel=1e-9)
        nexts = [closes[i + 1] / closes[i] - 1 for i in at if i + 1 < len(closes)]
        if nexts:
            assert row["next_return"] == pytest.approx(float(sum(nexts) / len(nexts)), rel=1e-6)


async def test_the_comparison_is_the_one_that_a_plain_loop_makes(
    run: Run, client: goblin.AsyncClient
) -> None:
    found = await run(
        "03-compare-strategies.ipynb",
        {"comparison": "comparison.to_dict('index')", "trades": "statistics.trades.count"},
    )
    candles = await client.candles("BTCUSDT", "1h", limit=500).all()
    rows = await client.indicators("BTCUSDT", "1h", ["sma:10", "sma:30"], limit=500).all()
    closes = [float(candle.close) for candle in candles]
    trend = [row.values["sma:10"] > row.values["sma:30"] for row in rows]
    for name, wishes in (("Trend SMA 10/30", trend), ("Buy and hold", [True] * 500)):
        equity, peak, drawdown, held = 1.0, 1.0, 0.0, False
        for i in range(1, 500):
            fee = 0.001 if wishes[i - 1] != held else 0.0
            held = wishes[i - 1]
            equity *= 1 + (closes[i] / closes[i - 1] - 1 if held else 0.0) - fee
            peak = max(peak, equity)
            drawdown = max(drawdown, 1 - equity / peak)
        assert found["comparison"][name]["return"] == pytest.approx(equity - 1, abs=1e-9), name
        assert found["comparison"][name]["drawdown"] == pytest.approx(drawdown, abs=1e-9), name
    assert found["trades"] == 1
    assert {s.name async for s in client.strategies()} == set(found["comparison"])
    assert len(await client.logs().all()) == 3


async def test_a_notebook_without_address_says_what_to_set(run: Run) -> None:
    with pytest.raises(CellExecutionError, match="GOBLIN_API_KEY must be set: export GOBLIN_URL="):
        await run("01-first-steps.ipynb", {}, key="")
