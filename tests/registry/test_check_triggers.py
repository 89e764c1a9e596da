"""What starts a workflow: schedules against a peer that runs them, webhooks, zones."""

from typing import Any

import pytest
from dagster._utils.schedules import is_valid_cron_string
from hypothesis import given
from hypothesis import strategies as st

from registry.checks.known import Known
from registry.checks.triggers import CronFault, check_cron, trigger_faults
from registry.documents import Trigger

KNOWN = Known(skills={}, roles=(), schemas={"order.placed": {"type": "object"}})


def faults(trigger_type: str, **selector: Any) -> dict[str, str]:
    trigger = Trigger.model_validate({"trigger_id": "T", "trigger_type": trigger_type, "selector": selector})
    return {fault.path: fault.problem for fault in trigger_faults(trigger, KNOWN, "")}


def is_cron(text: str) -> bool:
    try:
        check_cron(text)
    except CronFault:
        return False
    return True


@pytest.mark.parametrize(
    "cron",
    [
        "* * * * *",
        "*/15 * * * *",
        "0 6 * * mon-fri",
        "0 0 1,15 * *",
        "5-59/10 0-5 1 jan,JUL 0",
        "0 0 29 2 *",
        "0 0 31 1-6 *",
    ],
)
def test_a_schedule_is_let_through(cron: str) -> None:
    """These are on every machine."""
    check_cron(cron)
    assert is_valid_cron_string(cron)


@pytest.mark.parametrize(
    "cron",
    [
        *("", "* * * *", "* * * * * *", "@daily", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8"),
        *("a * * * *", "* * * * monday", "5-1 * * * *", "*/0 * * * *", "1,,2 * * * *", "-1 * * * *", "1.5 * * * *"),
        *("0 0 30 2 *", "0 0 31 2,4,6,9,11 *"),
    ],
)
def test_what_is_no_schedule_or_never_comes_is_refused(cron: str) -> None:
    """A schedule that never fires is as silent as one that was never set up."""
    with pytest.raises(CronFault):
        check_cron(cron)


ITEM = st.sampled_from(
    ["*", "0", "1", "7", "12", "31", "59", "60", "1-5", "5-1", "*/2", "*/0", "3,4", "jan", "sun", "x", "2-9/3"]
)


@given(st.lists(ITEM, min_size=4, max_size=6).map(" ".join))
def test_whatever_is_let_through_can_be_run(cron: str) -> None:
    """The scheduler that runs it later has its own parser."""
    if is_cron(cron):
        assert is_valid_cron_string(cron)


def test_a_schedule_needs_a_zone_that_there_is() -> None:
    """Six in the morning is no moment without one."""
    assert faults("schedule", cron="0 6 * * *", timezone="Europe/Berlin") == {}
    assert list(faults("schedule", cron="0 6 * * *", timezone="Berlin")) == ["/timezone"]
    assert list(faults("schedule")) == ["/cron"]


def test_a_webhook_needs_the_secret_of_its_sender() -> None:
    """Else whoever finds the address starts workflows."""
    assert list(faults("webhook", topic="order.placed")) == ["/auth"]
    assert faults("webhook", topic="order.placed", auth={"secret_ref": "vault:kv/hooks#shop"}) == {}
