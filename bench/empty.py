"""FastAPI's floor: an application with one route that answers a constant (and one for bench/cpu).

`python -m bench.empty` serves it as `python -m app serve` serves goblin (uvloop, httptools, no
access log), with uvicorn's own connections and without anything of goblin's around it.
"""

import socket
import sys
import time

import uvicorn
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse

app = FastAPI()


@app.get("/")
async def constant() -> dict[str, str]:
    return {"status": "ok"}


@app.get("/metrics")  # after it, so that it costs the other one nothing
async def metrics() -> PlainTextResponse:
    return PlainTextResponse(f"process_cpu_seconds_total {time.process_time()}\n")


def main() -> int:
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    host, port = listener.getsockname()
    print(f"http://{host}:{port}", flush=True)
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
    )
    uvicorn.Server(config).run(sockets=[listener])
    return 0


if __name__ == "__main__":
    sys.exit(main())
