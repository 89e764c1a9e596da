"""Schedules: work by the clock. One, the daily purge; it takes nothing unless the installation says so."""

import os

import dagster as dg

from dagster_project.jobs import PURGE

SWITCH = "RWCM_PURGE"


class UnknownSwitch(ValueError):
    """`RWCM_PURGE` says neither."""


def is_applied() -> bool:
    """Return whether the schedule's runs take what is past its limit: `RWCM_PURGE=apply` says so.

    Raises:
        UnknownSwitch: it says something else than `apply` and `dry`.
    """
    setting = os.environ.get(SWITCH) or "dry"
    if setting not in ("apply", "dry"):
        raise UnknownSwitch(f"{SWITCH} is {setting!r}; set it to apply or dry, or leave it out")
    return setting == "apply"


@dg.schedule(
    job=PURGE,
    cron_schedule="30 2 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description=f"Purges every night what is past its limit; dry, so that it only says so, unless {SWITCH}=apply.",
)
def daily_purge(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Ask for one purge a day."""
    config = {"ops": {"purge_receipt": {"config": {"dry_run": not is_applied()}}}}
    return dg.RunRequest(run_key=f"purge:{context.scheduled_execution_time:%Y-%m-%d}", run_config=config)


SCHEDULES = (daily_purge,)
