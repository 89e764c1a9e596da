"""Acting from the launchpad: who runs a job that decides names where their token lies.

Dagster keeps the config of every run and shows it, so a token is a secret reference there and never typed.
"""

from pydantic import Field

from dagster_project.platform import Platform
from guard.providers import read_secret

TOKEN_REF: str = Field(
    default="env:RWCM_TOKEN",
    description="Where your token lies: env:NAME, or file:NAME in secrets/ of the home. Never the token itself.",
)


def token_at(platform: Platform, reference: str) -> str:
    """Return the token that a reference names.

    Raises:
        SecretUnavailable: it names none.
    """
    return read_secret(reference, folder=platform.home.secrets).decode("ascii", "replace").strip()
