"""vl-convert: Vega for the page, and pictures without a browser. Imported when it is used."""

from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any, Final

REMEDY: Final = "pip install 'vl-convert-python>=1.9,<2'"


class ReportPackageMissing(ImportError):
    """The package that draws is not installed; the message says how to get it."""

    def __init__(self) -> None:
        super().__init__(f"goblin.report draws with vl-convert-python: {REMEDY}")


def _import_vl_convert() -> ModuleType:
    import vl_convert  # noqa: PLC0415 - optional

    return vl_convert


def vl_convert(load: Callable[[], ModuleType] = _import_vl_convert) -> ModuleType:
    """The package, or ReportPackageMissing."""
    try:
        return load()
    except ImportError:
        raise ReportPackageMissing from None


@cache
def javascript_bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, about 900 kB; made once a process."""
    bundle: str = vl_convert().javascript_bundle()
    for end in ("</script", "<!--"):
        assert end not in bundle.lower(), f"{end} would end the element that it stands in"
    return bundle


def picture(spec: dict[str, Any], *, scale: float) -> bytes:
    """A chart as PNG, with so many pixels for each of its points in either direction."""
    png: bytes = vl_convert().vegalite_to_png(spec, scale=scale, allowed_base_urls=[])
    return png
