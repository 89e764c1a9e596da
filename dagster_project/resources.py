"""Resources: what assets are handed. One, the platform of a home; it is opened when a step runs, not at import."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from dagster_project.platform import Platform
from lake.home import Home


@dg.resource(
    config_schema={
        "home": dg.Field(
            str,
            default_value="",
            description="Folder that holds all state; empty for the one that RWCM_HOME names, var/ by default.",
        )
    }
)
def platform_resource(context: dg.InitResourceContext) -> Iterator[Platform]:
    """The rooms of one home."""
    folder = context.resource_config["home"]
    platform = Platform(Home(Path(folder).resolve()) if folder else Home.from_environment())
    try:
        yield platform
    finally:
        platform.close()
