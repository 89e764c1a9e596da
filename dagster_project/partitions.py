"""Partitions: the one home of the monthly partition definition.

What belongs here: the definition, and what is between it and the months of the rooms. What does not: which months a
stage works on.
"""

from collections.abc import Iterable

import dagster as dg

from dagster_project.platform import first_month
from lake.months import Month, parse_month

MONTHLY = dg.MonthlyPartitionsDefinition(start_date=first_month().isoformat(), timezone="UTC", end_offset=1)
"""Calendar months of UTC up to the current one. Older months are in the lake and in metadata, without a partition."""

ONE_RUN = dg.BackfillPolicy.single_run()
"""A range of months is one run; the same for every asset of a chain, or Dagster falls back to a run per month."""


CLOCK_MONTH = "rwcm/clock_month"
"""Tag of a run that carries a month only because it must: it works on what changed, and derives nothing again."""


def months_of(context: dg.AssetExecutionContext) -> list[Month]:
    """Return the months that the run was asked for, to be derived again whether they changed or not."""
    if CLOCK_MONTH in context.run.tags or not (context.has_partition_key or context.has_partition_key_range):
        return []
    return [parse_month(key) for key in context.partition_keys]


def partition_keys(months: Iterable[Month]) -> list[str]:
    """Return the partition keys of those months that have a partition."""
    return [month.isoformat() for month in sorted(set(months)) if MONTHLY.has_partition_key(month.isoformat())]
