"""/docs and /redoc with assets from this process: nothing is loaded from the internet."""

from functools import cache
from pathlib import Path
from typing import Final

import fastapi_offline
from fastapi import FastAPI
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from fastapi.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles

ASSETS: Final = "/docs-assets"
_STATIC: Final = Path(fastapi_offline.__file__).parent / "static"
_REMOTE_LOGO: Final = "https://cdn.redoc.ly/redoc/logo-mini.svg"

_OWN_PARTS_ONLY: Final = {
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'unsafe-inline'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data:; worker-src blob:"
}
"""The browser itself refuses what a page would load from elsewhere."""


def install_docs(app: FastAPI) -> None:
    """Serve Swagger UI and ReDoc over the application's own /openapi.json."""

    @app.get(f"{ASSETS}/redoc.js", include_in_schema=False)
    async def redoc_script() -> Response:
        return Response(_redoc_script(), media_type="text/javascript")

    app.mount(ASSETS, StaticFiles(directory=_STATIC), name="docs")

    @app.get("/docs", include_in_schema=False)
    async def swagger_ui() -> HTMLResponse:
        page = get_swagger_ui_html(
            openapi_url="/openapi.json",
            title="goblin",
            swagger_js_url=f"{ASSETS}/swagger-ui-bundle.js",
            swagger_css_url=f"{ASSETS}/swagger-ui.css",
            swagger_favicon_url=f"{ASSETS}/favicon.png",
            swagger_ui_parameters={
                "persistAuthorization": True,
                "tryItOutEnabled": True,
                "validatorUrl": None,  # a badge from the internet, unless the host is local
            },
        )
        page.headers.update(_OWN_PARTS_ONLY)
        return page

    @app.get("/redoc", include_in_schema=False)
    async def redoc() -> HTMLResponse:
        page = get_redoc_html(
            openapi_url="/openapi.json",
            title="goblin",
            redoc_js_url=f"{ASSETS}/redoc.js",
            redoc_favicon_url=f"{ASSETS}/favicon.png",
            with_google_fonts=False,
        )
        page.headers.update(_OWN_PARTS_ONLY)
        return page


@cache
def _redoc_script() -> bytes:
    """ReDoc, whose footer shows a logo from the internet, with one of ours."""
    script = (_STATIC / "redoc.standalone.js").read_bytes()
    return script.replace(_REMOTE_LOGO.encode(), f"{ASSETS}/favicon.png".encode())
