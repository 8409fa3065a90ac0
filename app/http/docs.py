"""/docs and /redoc with assets from this process: nothing is loaded from the internet."""

import base64
import hashlib
import json
import re
from functools import cache
from pathlib import Path
from typing import Any, Final

import fastapi_offline
from fastapi import FastAPI
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from fastapi.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles

ASSETS: Final = "/docs-assets"
_STATIC: Final = Path(fastapi_offline.__file__).parent / "static"
_REMOTE_LOGO: Final = "https://cdn.redoc.ly/redoc/logo-mini.svg"

_INLINE_SCRIPT: Final = re.compile(rb"<script>(.*?)</script>", re.DOTALL)
_REVALIDATE: Final = "no-cache"


class _Assets(StaticFiles):
    """Scripts and styles, which a browser may keep as long as it asks whether they changed."""

    def file_response(self, *args: Any, **options: Any) -> Response:
        response = super().file_response(*args, **options)
        response.headers["Cache-Control"] = _REVALIDATE
        return response


def install_docs(app: FastAPI) -> None:
    """Serve Swagger UI and ReDoc over the application's own /openapi.json."""

    @app.get(f"{ASSETS}/redoc.js", include_in_schema=False)
    async def redoc_script() -> Response:
        return Response(
            _redoc_script(),
            headers={"Cache-Control": _REVALIDATE},
            media_type="text/javascript",
        )

    app.mount(ASSETS, _Assets(directory=_STATIC), name="docs")

    @cache
    def document() -> bytes:
        return json.dumps(app.openapi()).encode()

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi() -> Response:
        return Response(document(), media_type="application/json")

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
        return _confined(page)

    @app.get("/redoc", include_in_schema=False)
    async def redoc() -> HTMLResponse:
        page = get_redoc_html(
            openapi_url="/openapi.json",
            title="goblin",
            redoc_js_url=f"{ASSETS}/redoc.js",
            redoc_favicon_url=f"{ASSETS}/favicon.png",
            with_google_fonts=False,
        )
        return _confined(page)


def _confined(page: HTMLResponse) -> HTMLResponse:
    """The page, which its browser lets run and load nothing but its own parts."""
    digests = (hashlib.sha256(script).digest() for script in _INLINE_SCRIPT.findall(page.body))
    inline = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    page.headers["Content-Security-Policy"] = (
        f"default-src 'none'; script-src 'self' {inline}; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; font-src 'self'; connect-src 'self'; worker-src blob:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return page


@cache
def _redoc_script() -> bytes:
    """ReDoc, whose footer shows a logo from the internet, with one of ours."""
    script = (_STATIC / "redoc.standalone.js").read_bytes()
    return script.replace(_REMOTE_LOGO.encode(), f"{ASSETS}/favicon.png".encode())
