"""Progress: the stages of a run as lines of the log that the command line shows."""

import logging
from typing import Any

import dagster as dg

_SAID = {"STEP_START": "{step} ...", "STEP_SUCCESS": "{step} done", "STEP_FAILURE": "{step} failed"}


class _Stages(logging.Handler):
    """Says when a step starts and ends; everything else that Dagster logs is in its UI."""

    def emit(self, record: logging.LogRecord) -> None:
        event: Any = getattr(record, "dagster_meta", {}).get("dagster_event")
        if event is not None and event.event_type_value in _SAID:
            step = event.step_key.replace("_", " ")
            logging.getLogger("rwcm.stage").info(_SAID[event.event_type_value].format(step=step))


@dg.logger
def progress_logger(context: dg.InitLoggerContext) -> logging.Logger:
    """Hands the stages of a run to the log `rwcm.stage`."""
    logger = logging.Logger("rwcm.stages")
    logger.addHandler(_Stages())
    return logger
