"""Client types: what consumers of topics install, generated from the registry, the same bytes for the same schemas."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guard.canonical import canonical, digest
from registry.clients.avro import NotTranslated, to_avro
from registry.clients.models import GeneratorMissing, class_name, model_source, module_name
from registry.clients.openapi import openapi
from registry.clients.wheel import write_wheel
from registry.database import Registry
from registry.schemas import SchemaVersion, schema_versions

__all__ = ["ClientTypes", "GeneratorMissing", "generate_clients"]

NAME, PACKAGE = "rwcm-events", "rwcm_events"
_REQUIRES = ("pydantic[email]>=2",)


@dataclass(frozen=True)
class ClientTypes:
    """What was generated.

    Attributes:
        version: of the wheel: how many versions of schemas there are, and what names their content.
        wheel: the package of models, schemas and documents.
        untranslated: topic and version -> why it has no Avro schema.
    """

    version: str
    wheel: Path
    files: tuple[str, ...]
    untranslated: Mapping[str, str]


def generate_clients(registry: Registry, folder: Path) -> ClientTypes:
    """Write the clients' package into `folder`: the files to look at, and the wheel to install.

    Raises:
        GeneratorMissing: the extra `clients` is not installed.
    """
    with registry.read() as connection:
        topics = dict(sorted(schema_versions(connection).items()))
    version = registry_version(topics)
    untranslated: dict[str, str] = {}
    files = _package(topics, version, untranslated)
    for path, content in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    summary = "Types of the events of an RWCM registry"
    wheel = write_wheel(folder / "dist", files, name=NAME, version=version, summary=summary, requires=_REQUIRES)
    return ClientTypes(version, wheel, tuple(sorted(files)), untranslated)


def registry_version(topics: Mapping[str, Sequence[SchemaVersion]]) -> str:
    """Return the version of the package, which grows with each version of a schema and names what is in it."""
    count = sum(map(len, topics.values()))
    content = {f"{each.subject}@{each.version}": each.schema for versions in topics.values() for each in versions}
    return f"0.{count}.0+g{digest(content)[:12]}"


def _package(
    topics: Mapping[str, Sequence[SchemaVersion]], version: str, untranslated: dict[str, str]
) -> dict[str, bytes]:
    """Return the files of the package by their path."""
    files = {
        f"{PACKAGE}/py.typed": b"",
        f"{PACKAGE}/__init__.py": _entry(topics, version).encode(),
        f"{PACKAGE}/openapi.json": _json(openapi(topics, version=version)),
    }
    for each in (each for versions in topics.values() for each in versions):
        name = module_name(each)
        files[f"{PACKAGE}/{name}.py"] = model_source(each).encode()
        files[f"{PACKAGE}/schemas/{name}.{'avsc' if each.format == 'avro' else 'json'}"] = _json(each.schema)
        if each.format == "json":
            try:
                made = to_avro(each.schema, name=class_name(each), namespace=PACKAGE)
            except NotTranslated as reason:
                untranslated[f"{each.subject} version {each.version}"] = str(reason)
            else:
                files[f"{PACKAGE}/avro/{name}.avsc"] = _json(made.schema)
    return files


def _entry(topics: Mapping[str, Sequence[SchemaVersion]], version: str) -> str:
    """Return the package's own module: the models by topic and version, and the latest version of each topic."""
    listed = [each for versions in topics.values() for each in versions]
    imports = [f"from {PACKAGE}.{module_name(e)} import {class_name(e)} as _{module_name(e)}" for e in listed]
    models = [f"    ({e.subject!r}, {e.version}): _{module_name(e)}," for e in listed]
    latest = [f"    {subject!r}: {versions[-1].version}," for subject, versions in topics.items()]
    return "\n".join(
        [
            '"""Types of the events of a registry, generated: `MODELS[topic, version]` validates a payload."""',
            "",
            *imports,
            "",
            f'__version__ = "{version}"',
            "",
            "MODELS = {",
            *models,
            "}",
            "",
            "LATEST = {",
            *latest,
            "}",
            "",
        ]
    )


def _json(value: Any) -> bytes:
    return (json.dumps(json.loads(canonical(value)), indent=2, ensure_ascii=False) + "\n").encode()
