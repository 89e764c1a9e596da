"""Decisions on proposals in the Dagster UI: two reviewers from the launchpad, each by a token that is named."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from dagster_project.definitions import build_definitions
from dagster_project.platform import Platform
from lake.tables import PUBLICATION_QUEUE
from registry.tokens import issue_token
from tests.builders import Payables
from tests.governance.world import NOW, Governed


@pytest.fixture
def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    """A home with a proposal that every gate has passed, and a token for each of three people."""
    monkeypatch.delenv("RWCM_REGISTRY_URL", raising=False)
    payables = Payables(tmp_path / "home")
    payables.home.fix(as_of=NOW, seed=1, events=100)
    governed = Governed(payables)
    governed.propose()
    governed.judge()
    payables.registry.close()
    opened = Platform(payables.home)
    opened.home.secrets.mkdir(parents=True, exist_ok=True)
    for name, role in (("ada", "QA-M-001"), ("sam", "SEC-M-001"), ("carl", "SAL-IC-001")):
        issued = issue_token(
            opened.registry, subject_id=name, subject_type="person", role_id=role, days=1, actor="test",
            now=datetime.now(UTC),
        )  # fmt: skip
        path = opened.home.secrets / name
        path.write_text(issued.token)
        path.chmod(0o600)
    yield opened
    opened.close()


def launch(platform: Platform, token_ref: str, decision: str = "approved") -> dg.ExecuteInProcessResult:
    """Run the job as the launchpad does."""
    (proposal,) = platform.registry.frame(PUBLICATION_QUEUE)["publication_id"]
    config = {"proposal": proposal[:8], "decision": decision, "reason": "looked at it", "token_ref": token_ref}
    definitions = build_definitions(resource_overrides={"platform": platform})
    return definitions.resolve_job_def("decide_proposal").execute_in_process(
        run_config={"ops": {"decide_publication": {"config": config}}}, raise_on_error=False
    )


def state(platform: Platform) -> str:
    (found,) = platform.registry.frame(PUBLICATION_QUEUE)["decision"]
    return str(found)


def test_two_reviewers_approve_from_the_launchpad(platform: Platform) -> None:
    """Who works in the Dagster UI would have to leave it for a terminal."""
    assert launch(platform, "file:ada").success
    assert state(platform) == "pending"
    assert launch(platform, "file:sam").success
    assert state(platform) == "approved"
    assert not launch(platform, "file:sam").success


@pytest.mark.parametrize("token_ref", ["file:carl", "file:nobody", "env:NOT_THERE", "rwcm_typed"])
def test_who_may_not_decide_decides_nothing(platform: Platform, token_ref: str) -> None:
    """Whoever reaches the UI could publish a workflow in another's name."""
    assert not launch(platform, token_ref).success
    assert state(platform) == "pending"
