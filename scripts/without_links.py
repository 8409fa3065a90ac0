"""Takes out of a bill of materials the web addresses that packages give themselves.

They change without the package changing, and say nothing about what goblin is made of.
"""

import json
import sys
from pathlib import Path
from typing import Any


def drop_links(node: Any) -> None:
    """Whatever is described, in whatever depth."""
    if isinstance(node, dict):
        node.pop("externalReferences", None)
        node = list(node.values())
    if isinstance(node, list):
        for part in node:
            drop_links(part)


path = Path(sys.argv[1])
bill = json.loads(path.read_text())
drop_links(bill)
path.write_text(json.dumps(bill, indent=2) + "\n")
