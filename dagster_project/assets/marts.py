"""The marts' assets: the dbt project as assets and checks, and the published warehouse."""

import json
import logging
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DagsterDbtTranslatorSettings, dbt_assets
from dagster_dbt.core.dbt_cli_event import DbtCoreCliEventMessage

from dagster_project.partitions import MONTHLY, ONE_RUN, months_of, partition_keys
from dagster_project.platform import Platform
from dagster_project.purging import SERVED_SCHEMAS
from lake.tables import DERIVED, MIRRORED
from lake.transform import BuildResult, Transformation, TransformFailed, build_lock, changed_months, ensure_manifest
from lake.warehouse import publish, row_counts

log = logging.getLogger("rwcm.marts")

_MIRRORED = {spec.name for spec in (*MIRRORED, *DERIVED)}
_LAYERS = ("staging", "intermediate", "marts")
_FAILED = ("fail", "error")


class Translator(DagsterDbtTranslator):
    """Names dbt's nodes as the platform does: a source is the asset that writes the table, a folder is a group."""

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
        name = dbt_resource_props["name"]
        is_mirrored = dbt_resource_props["resource_type"] == "source" and name in _MIRRORED
        return dg.AssetKey(["registry", name] if is_mirrored else [name])

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str | None:
        return dbt_resource_props["fqn"][1] if dbt_resource_props["resource_type"] == "model" else None

    def get_partitions_def(self, dbt_resource_props: Mapping[str, Any]) -> dg.PartitionsDefinition | None:
        return MONTHLY if "monthly" in dbt_resource_props["tags"] else None

    def get_owners(self, dbt_resource_props: Mapping[str, Any]) -> list[str]:
        return ["team:analytics"]


MANIFEST = json.loads(ensure_manifest().read_text())
_WARNING = {
    node["name"]
    for node in MANIFEST["nodes"].values()
    if node["resource_type"] == "test" and node["config"]["severity"].lower() == "warn"
}
TRANSLATOR = Translator(settings=DagsterDbtTranslatorSettings(enable_source_tests_as_checks=False))


@dbt_assets(
    manifest=MANIFEST,
    name="dbt_models",
    dagster_dbt_translator=TRANSLATOR,
    backfill_policy=ONE_RUN,
    pool="duckdb_build",
)
def dbt_models(
    context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """Rebuild the months whose episodes changed and those that the run was asked for, and test what was built."""
    tests: dict[str, dict[str, Any]] = {}

    def hear(event: dict[str, Any]) -> None:
        if event["info"]["name"] == "LogTestResult":
            name = event["data"]["node_info"]["unique_id"]
            # A test runs once per stretch of months; one failure among them is its result.
            if name not in tests or tests[name]["data"]["status"] not in _FAILED:
                tests[name] = event

    transformation = Transformation(platform.home)
    months = sorted({*changed_months(platform.lake, platform.home), *months_of(context)})
    selected = sorted((key.path[-1] for key in context.selected_asset_keys), key=_layer)
    if not months and not context.is_subset and transformation.is_current():
        log.info("the marts are current")
        built = BuildResult((), (), 0, {})
    else:
        try:
            built = transformation.build(
                months, select=" ".join(selected) if context.is_subset else None, on_event=hear
            )
        except TransformFailed as fault:
            yield from _check_results(context, tests, is_whole=False)
            raise dg.Failure(str(fault), allow_retries=False) from fault
    counts = row_counts(platform.home.build_db)
    for name in selected:
        yield dg.MaterializeResult(asset_key=name, metadata=_metadata(context, name, built, counts))
    yield from _check_results(context, tests, is_whole=True)


def _metadata(
    context: dg.AssetExecutionContext, name: str, built: BuildResult, counts: Mapping[str, int]
) -> dict[str, Any]:
    """Return a model's metadata; a monthly one gets a materialisation for each month that was rebuilt."""
    metadata: dict[str, Any] = {"dagster/row_count": counts[name]} if name in counts else {}
    if TRANSLATOR.get_partitions_def(_props(name)) is not None:
        metadata["months_rebuilt"] = dg.MetadataValue.json([f"{month:%Y-%m}" for month in built.months])
        for key in partition_keys(set(built.months) - set(months_of(context))):
            context.log_event(dg.AssetMaterialization(name, partition=key))
    return metadata


def _props(name: str) -> Mapping[str, Any]:
    return next(n for n in MANIFEST["nodes"].values() if n["resource_type"] == "model" and n["name"] == name)


def _layer(name: str) -> tuple[int, str]:
    """Sort models as they feed each other: Dagster takes results of an asset only after those it depends on."""
    return _LAYERS.index(_props(name)["fqn"][1]), name


def _check_results(
    context: dg.AssetExecutionContext, tests: Mapping[str, dict[str, Any]], *, is_whole: bool
) -> Iterator[dg.AssetCheckResult]:
    """Yield the results of dbt's tests as those of checks.

    Args:
        is_whole: whether the build passed. A test that it had no cause to run then passed when its model was last
            built; the check says so, because one without a result would not gate. One that only warns may have warned.
    """
    missing = {key for key in context.selected_asset_check_keys if key.name not in _WARNING}
    for event in tests.values():
        message = DbtCoreCliEventMessage(raw_event=event, event_history_metadata={})
        for result in message.to_default_asset_events(MANIFEST, TRANSLATOR, context):
            if isinstance(result, dg.AssetCheckResult):
                missing.discard(dg.AssetCheckKey(result.asset_key, result.check_name))  # type: ignore[arg-type]
                yield result
    for key in sorted(missing) if is_whole else ():
        yield dg.AssetCheckResult(
            passed=True,
            asset_key=key.asset_key,
            check_name=key.name,
            metadata={"judged": "when the model was last built"},
        )


@dg.asset(
    deps=[node["name"] for node in MANIFEST["nodes"].values() if node["path"].startswith("marts/")],
    kinds={"duckdb"},
    owners=["team:analytics"],
    pool="duckdb_build",
)
def warehouse(platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult:
    """The marts for everybody: a read-only DuckDB file, replaced whole, so that a reader never meets a lock.

    Checks gate within one run only, so that a build which failed in another run is refused here.
    """
    home = platform.home
    with build_lock(home):
        if not Transformation(home).has_ended():
            raise dg.Failure(
                "the last build of the marts did not come to its end; materialise all of them, then the warehouse",
                allow_retries=False,
            )
        is_current = home.served_db.exists() and home.served_db.stat().st_mtime > home.build_db.stat().st_mtime
        if is_current:
            counts = row_counts(home.served_db)
        else:
            counts = publish(home.build_db, home.served_db, schemas=SERVED_SCHEMAS)
    rows = [dg.TableRecord({"table": table, "rows": count}) for table, count in sorted(counts.items())]
    return dg.MaterializeResult(
        metadata={
            "published": not is_current,
            "path": dg.MetadataValue.path(str(home.served_db)),
            "bytes": home.served_db.stat().st_size,
            "tables": dg.MetadataValue.table(records=rows),
        }
    )


@dg.asset(deps=[warehouse], kinds={"altair"}, owners=["team:analytics"], pool="duckdb_build")
def dashboard(platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult:
    """The published marts on one page for browsers: key numbers, workflow health, variants, proposals, data quality."""
    from dashboard.page import write  # the drawing library takes a second to import

    page = write(platform.home.served_db, platform.home.dashboard)
    shown = [dg.TableRecord({"number": tile.name, "value": tile.value, "note": tile.note}) for tile in page.tiles]
    return dg.MaterializeResult(
        metadata={
            "path": dg.MetadataValue.path(str(page.path)),
            "page": dg.MetadataValue.url(page.path.as_uri()),
            "bytes": page.bytes,
            "tiles": dg.MetadataValue.table(records=shown),
        }
    )
