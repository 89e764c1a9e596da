"""Sensors: one per stage, which asks for the work it sees once, and one that asks again for what did not get done.

A cursor and a run key make sure that the same work is requested once; they do not make sure that it is done, since a
failed run is never requested again under its key. That it is done, and done once, is the sink's to say: a stage looks
at what is there. So a run that fails anywhere loses and repeats nothing, and `reconcile` gives it another try.
"""

import json
from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster._core.scheduler.instigation import InstigatorStatus, InstigatorType

from dagster_project.partitions import CLOCK_MONTH
from dagster_project.platform import Platform
from dagster_project.stages import STAGES, Stage, Waiting, Work
from lake.months import month_of

STAGE, WORK = "rwcm/stage", "rwcm/work"
"""Tags of a run that a sensor asked for: its stage, and the name of the work it was asked for."""

MAX_TRIES = 5
_PAUSE = timedelta(minutes=1)
_IN_PROGRESS = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def clock() -> datetime:
    """Return the moment that files are old or young at, and runs long or just ended."""
    return datetime.now(UTC)


def stage_sensor(stage: Stage) -> dg.SensorDefinition:
    """Return the sensor that asks for a stage's work as it comes."""

    @dg.sensor(
        name=_sensor_name(stage),
        job=stage.job,
        description=stage.description,
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def sensor(
        context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]
    ) -> dg.SensorResult | dg.SkipReason:
        work = stage.look(platform, clock())
        if isinstance(work, Waiting):
            return dg.SkipReason(work.reason)
        if running := _in_progress(context.instance, stage):
            return dg.SkipReason(f"run {running} of this stage is under way; what it leaves is asked for after it")
        if work == context.cursor:
            return dg.SkipReason("this work was asked for; if its run failed, reconcile asks again")
        return dg.SensorResult(run_requests=[_request(stage, work, platform, attempt=1)], cursor=work)

    return sensor


@dg.sensor(
    name="reconcile_sensor",
    jobs=[stage.job for stage in STAGES],
    description="Asks again for work whose run failed, was killed or never started, with growing pauses.",
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def reconcile_sensor(
    context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]
) -> dg.SensorResult | dg.SkipReason:
    """Ask again for work that is still there although its run has ended."""
    now = clock()
    seen: dict[str, list[str]] = json.loads(context.cursor or "{}")
    paused = _paused(context.instance)
    still, requests, given_up = {}, [], []
    for stage in STAGES:
        work = stage.look(platform, now)
        if isinstance(work, Waiting) or stage.name in paused or _in_progress(context.instance, stage):
            continue
        before = seen.get(stage.name, [])
        still[stage.name] = before if before[:1] == [work] else [work, now.isoformat()]
        tries = context.instance.get_run_records(dg.RunsFilter(tags={STAGE: stage.name, WORK: work}), limit=MAX_TRIES)
        if len(tries) == MAX_TRIES:
            given_up.append(
                f"{stage.name}: {MAX_TRIES} runs ended and the work is there, see {tries[0].dagster_run.run_id}"
            )
            continue
        # Work without a run was asked for by the stage's sensor a moment ago, or its request was lost.
        since = tries[0].update_timestamp if tries else datetime.fromisoformat(still[stage.name][1])
        if now - since >= _PAUSE * 2 ** len(tries):
            requests.append(_request(stage, work, platform, attempt=len(tries) + 1))
    if requests:
        return dg.SensorResult(run_requests=requests, cursor=json.dumps(still))
    context.update_cursor(json.dumps(still))
    return dg.SkipReason("; ".join(given_up) or "nothing was left undone")


def _paused(instance: dg.DagsterInstance) -> set[str]:
    """Return the stages whose sensor somebody switched off."""
    states = instance.all_instigator_state(instigator_type=InstigatorType.SENSOR)
    stopped = {state.instigator_name for state in states if state.status is InstigatorStatus.STOPPED}
    return {stage.name for stage in STAGES if _sensor_name(stage) in stopped}


def _sensor_name(stage: Stage) -> str:
    return f"{stage.name}_sensor"


def _in_progress(instance: dg.DagsterInstance, stage: Stage) -> str | None:
    """Return the run of the stage that is under way, None if none is."""
    runs = instance.get_runs(dg.RunsFilter(tags={STAGE: stage.name}, statuses=_IN_PROGRESS), limit=1)
    return runs[0].run_id if runs else None


def _request(stage: Stage, work: Work, platform: Platform, *, attempt: int) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=f"{stage.name}:{work}:{attempt}",
        job_name=stage.job.name,
        partition_key=month_of(platform.now()).isoformat() if stage.is_monthly else None,
        tags={CLOCK_MONTH: "true", STAGE: stage.name, WORK: work},
    )


SENSORS = (*map(stage_sensor, STAGES), reconcile_sensor)
