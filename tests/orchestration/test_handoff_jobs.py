"""The inbox in the Dagster UI: a person decides and reassigns from the launchpad, by a token that is named."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from dagster_project.definitions import build_definitions
from dagster_project.metadata import inbox
from dagster_project.platform import Platform
from lake.tables import OUTBOX
from registry.tokens import issue_token
from runtime.handoffs import handoffs
from tests.builders import Payables


@pytest.fixture
def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.delenv("RWCM_REGISTRY_URL", raising=False)
    now = datetime.now(UTC)
    payables = Payables(tmp_path / "home")
    payables.invoice("steep", billed="150.00", at=now - timedelta(hours=1))
    payables.execute(now=now)
    payables.registry.close()
    opened = Platform(payables.home)
    issued = issue_token(
        opened.registry, subject_id="u-17", subject_type="person", role_id="FA-M-001", days=1, actor="test", now=now
    )
    monkeypatch.setenv("RWCM_TOKEN", issued.token)
    yield opened
    opened.close()


def launch(platform: Platform, job: str, op: str, **config: str) -> dg.ExecuteInProcessResult:
    """Run a job as the launchpad does."""
    definitions = build_definitions(resource_overrides={"platform": platform})
    return definitions.resolve_job_def(job).execute_in_process(
        run_config={"ops": {op: {"config": config}}}, raise_on_error=False
    )


def test_a_handoff_is_reassigned_and_decided_from_the_launchpad(platform: Platform) -> None:
    """Who works in the Dagster UI would have to leave it for a terminal."""
    (waiting,) = handoffs(platform.registry)
    shown = inbox(platform)
    assert shown["handoffs_waiting"] == 1
    assert shown["handoffs"].records[0].data["handoff"] == waiting.handoff_id

    assert launch(platform, "reassign_handoff", "reassign", handoff_id=waiting.handoff_id, role_id="FA-IC-001").success
    assert launch(platform, "decide_handoff", "decide", handoff_id=waiting.handoff_id, decision="approved").success

    assert inbox(platform) == {"handoffs_waiting": 0}
    rows = platform.registry.frame(OUTBOX).filter(pl.col("topic") == "handoff.decided")
    assert [json.loads(payload)["decided_by"] for payload in rows["payload"]] == ["u-17"]
    assert not launch(platform, "decide_handoff", "decide", handoff_id=waiting.handoff_id, decision="rejected").success


@pytest.mark.parametrize("token_ref", ["env:NOT_THERE", "env:OTHER", "rwcm_typed"])
def test_without_a_token_that_holds_nothing_is_decided(
    platform: Platform, token_ref: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever reaches the UI could approve invoices in another's name."""
    monkeypatch.setenv("OTHER", "rwcm_" + "0" * 46)
    (waiting,) = handoffs(platform.registry)
    done = launch(
        platform, "decide_handoff", "decide", handoff_id=waiting.handoff_id, decision="approved", token_ref=token_ref
    )
    assert not done.success
    assert len(handoffs(platform.registry)) == 1
