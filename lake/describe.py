"""`python -m lake.describe` prints the dbt sources of the lake, as dbt_project/models/staging/_sources.yml holds them.

The tables are stated in `lake/tables`; the file is derived, and a test says in both directions where it has drifted.
"""

import sys
from collections.abc import Mapping

import yaml

from lake.spec import MONTH, Column, Kind, TableSpec
from lake.tables import DERIVED, EMBEDDINGS, LOGS, MIRRORED

_DATA_TYPES: dict[Kind, str] = {
    Kind.TEXT: "varchar",
    Kind.JSON: "varchar",
    Kind.BOOL: "boolean",
    Kind.INT: "integer",
    Kind.BIGINT: "bigint",
    Kind.DOUBLE: "double",
    Kind.RATIO: "double",
    Kind.TIMESTAMP: "timestamp with time zone",
    Kind.DATE: "date",
    Kind.BINARY: "blob",
    Kind.VECTOR: "float[]",
}
_HEADER = "# Written by `python -m lake.describe`: change lake/tables and write it again.\n"


def describe() -> str:
    """Return the YAML of the dbt source `lake`: every table that the lake holds, with its columns and types."""
    source = {
        "name": "lake",
        "description": "The Delta tables of the lake: the logs by month, and copies of the registry's tables.",
        "tables": [_table(spec) for spec in (*LOGS, *EMBEDDINGS, *MIRRORED, *DERIVED)],
    }
    return _HEADER + yaml.safe_dump({"version": 2, "sources": [source]}, sort_keys=False, allow_unicode=True, width=120)


def differences(stated: str, written: str) -> list[str]:
    """Return where two sources files differ, one line for each table or column, naming the side that lacks it."""
    left, right = _flat(stated), _flat(written)
    return [
        f"{name}: only in lake/tables"
        if name not in right
        else f"{name}: only in _sources.yml"
        if name not in left
        else f"{name}: {left[name]} in lake/tables, {right[name]} in _sources.yml"
        for name in sorted(left.keys() | right.keys())
        if left.get(name) != right.get(name)
    ]


def _table(spec: TableSpec) -> dict[str, object]:
    columns = [_column(column) for column in spec.columns]
    if spec.is_monthly:
        columns.append({"name": MONTH, "description": f"Month of {spec.time_column}, in UTC.", "data_type": "date"})
    return {"name": spec.name, "description": f"{spec.description} Grain: {spec.grain}.", "columns": columns}


def _column(column: Column) -> dict[str, object]:
    values = f" One of: {', '.join(column.enum)}." if column.enum else ""
    return {
        "name": column.name,
        "description": column.description + values,
        "data_type": _DATA_TYPES[column.kind],
    }


def _flat(text: str) -> Mapping[str, tuple[str, ...]]:
    """Return `table` and `table.column` with what is said of each."""
    said: dict[str, tuple[str, ...]] = {}
    for table in yaml.safe_load(text)["sources"][0]["tables"]:
        said[table["name"]] = (table["description"],)
        for column in table["columns"]:
            said[f"{table['name']}.{column['name']}"] = (column["data_type"], column["description"])
    return said


if __name__ == "__main__":
    sys.stdout.write(describe())
