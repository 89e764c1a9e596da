"""Pydantic models of the topics, one module per version of a topic, by `datamodel-code-generator` (extra `clients`)."""

import re
import tempfile
from pathlib import Path

from guard.canonical import canonical
from registry.schemas import SchemaVersion


class GeneratorMissing(RuntimeError):
    """The extra that generates models is not installed."""

    def __init__(self) -> None:
        super().__init__("client types need datamodel-code-generator; install it with: pip install 'rwcm[clients]'")


def module_name(version: SchemaVersion) -> str:
    """Return the module of a version, such as `ap_invoice_received_v1`."""
    return re.sub(r"\W", "_", f"{version.subject}_v{version.version}", flags=re.ASCII)


def class_name(version: SchemaVersion) -> str:
    """Return the class of a topic's payload, such as `ApInvoiceReceived`."""
    return "".join(part.capitalize() for part in re.split(r"\W|_", version.subject, flags=re.ASCII) if part)


def model_source(version: SchemaVersion) -> str:
    """Return the module of a version's models; the class of the payload is `class_name(version)`.

    Raises:
        GeneratorMissing: the extra is not installed.
    """
    try:
        from datamodel_code_generator import DataModelType, InputFileType, PythonVersion, generate
        from datamodel_code_generator.format import Formatter
    except ImportError:
        raise GeneratorMissing from None
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "model.py"
        generate(
            canonical({**version.schema, "title": class_name(version)} if version.format == "json" else version.schema),
            input_file_type=InputFileType.JsonSchema if version.format == "json" else InputFileType.Avro,
            input_filename=f"{version.subject} version {version.version}",
            output=target,
            output_model_type=DataModelType.PydanticV2BaseModel,
            class_name=class_name(version),
            target_python_version=PythonVersion.PY_311,
            disable_timestamp=True,
            formatters=[Formatter.BUILTIN],  # others differ between their versions
            field_constraints=True,
            use_standard_collections=True,
            use_union_operator=True,
            use_schema_description=True,
        )
        return target.read_text(encoding="utf-8")
