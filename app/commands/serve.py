"""`rwcm serve`: the webhooks' server."""

import click

from app.faults import said_clearly
from lake.home import Home, HomeFault


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65_535), help="Port to listen on.")
@said_clearly(HomeFault)
def serve(host: str, port: int) -> None:
    """Receive webhooks: POST /hooks/TRIGGER_ID, signed as the Standard Webhooks specification says.

    A request is answered 202 when its event is safe in the landing zone. Put a proxy that speaks TLS before it.
    """
    import uvicorn

    from app.webhooks import build_app
    from dagster_project.platform import Platform

    platform = Platform(Home.from_environment())
    try:
        uvicorn.run(build_app(platform), host=host, port=port, log_level="warning", server_header=False)
    finally:
        platform.close()
