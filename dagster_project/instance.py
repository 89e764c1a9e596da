"""The Dagster instance of a home: its configuration, and running a job in this process against it."""

import os
import socket
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lake.home import Home

CONFIGURATION = """\
# Written by the platform at the first run of a home; yours to change.
telemetry: {enabled: false}
nux: {enabled: false}
python_logs: {managed_python_loggers: [rwcm], python_log_level: INFO}
concurrency:
  runs: {max_concurrent_runs: 4, tag_concurrency_limits: [{key: dagster/backfill, limit: 2}]}
  pools: {granularity: op, default_limit: 1}
run_retries: {enabled: true, max_retries: 0, retry_on_asset_or_op_failure: false}
run_monitoring: {enabled: true, start_timeout_seconds: 180, free_slots_after_run_end_seconds: 60}
retention:
  sensor: {purge_after_days: {skipped: 2, failure: 30, success: 14}}
sensors: {use_threads: true, num_workers: 4}
schedules: {use_threads: true, num_workers: 2}
backfills: {use_threads: true, num_workers: 2}
"""


def prepare_instance(home: Home) -> Path:
    """Return the home's DAGSTER_HOME, with a configuration in it; one that is there is left as it is."""
    home.dagster.mkdir(parents=True, exist_ok=True)
    configuration = home.dagster / "dagster.yaml"
    if not configuration.exists():
        partial = configuration.with_suffix(f".{os.getpid()}")
        partial.write_text(CONFIGURATION)
        partial.replace(configuration)
    return home.dagster


_PROCESS = "rwcm/process"
"""Tag of a run of the command line: host and process that it lives in."""


class RunFailed(RuntimeError):
    """A job that did not end well.

    Attributes:
        steps: what went wrong, by step.
        run_id: the run, to be found in the Dagster UI.
    """

    def __init__(self, run_id: str, steps: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{step}: {message}" for step, message in steps.items()))
        self.run_id = run_id
        self.steps = steps


def run_job(home: Home, job: str, *, config: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """Run a job of the code location in this process, recorded in the home's instance.

    The run carries the month of the home's clock, since a partitioned asset cannot run without one; which months it
    works on follows from what changed.

    Returns:
        The metadata of each asset that was materialised by its own step, by key.

    Raises:
        RunFailed: a step failed; the UI shows the run with its logs.
    """
    import dagster as dg

    warnings.simplefilter("ignore", dg.BetaWarning)  # backfill_policy on assets is beta; that is for us to know
    from dagster_project.definitions import defs
    from dagster_project.metadata import PARTITION_ROWS
    from dagster_project.partitions import CLOCK_MONTH
    from dagster_project.platform import Platform
    from lake.months import month_of

    prepare_instance(home)
    platform = Platform(home)
    month = month_of(platform.now())
    platform.close()
    with dg.DagsterInstance.from_config(str(home.dagster)) as instance:
        _bury_dead_runs(instance)
        definition = defs.resolve_job_def(job)
        result = definition.execute_in_process(
            instance=instance,
            partition_key=month.isoformat() if definition.partitions_def else None,
            run_config={
                **config,
                "resources": {"platform": {"config": {"home": str(home.root)}}},
                "loggers": {"progress": {}},
            },
            tags={CLOCK_MONTH: "true", _PROCESS: f"{socket.gethostname()}:{os.getpid()}"},
            raise_on_error=False,
        )
        if not result.success:
            raise RunFailed(result.run_id, _failures(result))
        return {
            event.asset_key.to_user_string(): {
                name: value.value for name, value in event.step_materialization_data.materialization.metadata.items()
            }
            for event in result.get_asset_materialization_events()
            if event.asset_key
            and event.partition in (None, month.isoformat())
            and PARTITION_ROWS not in event.step_materialization_data.materialization.metadata
        }


def _bury_dead_runs(instance: Any) -> None:
    """Fail the runs of this command whose process was killed, and free the pool slots that they still hold.

    Nothing else would: Dagster's monitoring frees what has ended, and a killed run never says that it has.
    """
    import dagster as dg

    for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
        host, _, process = run.tags.get(_PROCESS, "").partition(":")
        if host == socket.gethostname() and not _is_alive(int(process)):
            instance.report_run_failed(run, "its process was killed; everything it had begun is done again")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _failures(result: Any) -> dict[str, str]:
    failures = {}
    for event in result.get_step_failure_events():
        error = event.step_failure_data.error
        while error is not None and error.cause is not None:
            error = error.cause
        failures[event.step_key] = error.message.strip() if error else "failed"
    return failures


if __name__ == "__main__":
    print(prepare_instance(Home.from_environment().prepare()))  # noqa: T201 - for `make dev`
