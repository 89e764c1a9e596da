"""A JSON Schema as the comparison takes it: one dialect, no annotations, references resolved.

Drafts 4, 6 and 7 are rewritten as 2020-12, so that a draft-7 tuple and a 2020-12 tuple are the same thing. A schema
without `$schema` is 2020-12, as it is at the door.
"""

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin

import jsonschema_rs

from guard.canonical import canonical, digest_text, pointer

Schema = Any
"""A schema or part of one: a dict of keywords, True or False."""

_ANNOTATIONS = frozenset(
    [
        "$schema",
        "$comment",
        "title",
        "description",
        "default",
        "examples",
        "deprecated",
        "readOnly",
        "writeOnly",
        "contentEncoding",
        "contentMediaType",
        "contentSchema",
        "$vocabulary",
    ]
)
_IDENTITY = frozenset(("$id", "id", "$anchor", "$dynamicAnchor", "$recursiveAnchor"))
_MAPS = frozenset(("properties", "patternProperties", "dependentSchemas", "$defs", "definitions"))
_LISTS = frozenset(("allOf", "anyOf", "oneOf", "prefixItems"))
_SINGLES = frozenset(
    [
        "additionalProperties",
        "items",
        "contains",
        "propertyNames",
        "not",
        "if",
        "then",
        "else",
        "unevaluatedItems",
        "unevaluatedProperties",
    ]
)
_NUMBERS = frozenset(
    [
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "minProperties",
        "maxProperties",
        "minContains",
        "maxContains",
    ]
)
PLAIN = frozenset(["type", "enum", "pattern", "format", "required", "dependentRequired", "uniqueItems"]) | _NUMBERS - {
    "minContains",
    "maxContains",
}
"""Assertions that hold no schema."""
ASSERTIONS = (PLAIN | _MAPS | _LISTS | _SINGLES | {"$ref", "minContains", "maxContains"}) - {"$defs", "definitions"}
_DIALECTS = (
    "https://json-schema.org/draft/2020-12/schema",
    "http://json-schema.org/draft-07/schema#",
    "http://json-schema.org/draft-04/schema#",
)
_OLD_DRAFT = re.compile(r"https?://json-schema\.org/draft-0[3-7]/")
_MARK = "urn:sha256:"
_MAX_SCHEMA = 512_000
"""Characters of a schema: what bounds a comparison's memory."""


class SchemaRefused(ValueError):
    """A schema that cannot be compared; `path` is where, as a JSON pointer."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"the schema cannot be used: {path or '/'} {problem}")
        self.path = path
        self.problem = problem


class SchemaDocument:
    """A whole schema.

    Attributes:
        uri: names the content: equal documents have equal names.
        root: the schema in 2020-12 without annotations; its references are absolute.
    """

    def __init__(self, schema: Schema) -> None:
        if not isinstance(schema, dict | bool):
            raise SchemaRefused("", "is neither an object nor a boolean")
        text = canonical(schema)
        if len(text) > _MAX_SCHEMA:
            raise SchemaRefused("", f"has {len(text):,} characters; {_MAX_SCHEMA:,} are allowed, move parts to $defs")
        _refuse_malformed(schema)
        self.uri = f"{_MARK}{digest_text(text)}"
        draft = schema.get("$schema", "") if isinstance(schema, dict) else ""
        self._ignores_siblings = isinstance(draft, str) and bool(_OLD_DRAFT.match(draft))
        self._moved: dict[str, str] = {}
        self._named: dict[str, str] = {}
        self._bases: dict[str, str] = {}
        self._texts: dict[int, tuple[Schema, str]] = {}
        self._reached: dict[str, set[str]] = {}
        self._digests: dict[str, str] = {}
        self.root = self._rewrite(schema, "", "", self.uri)
        self._resolve_references(self.root, "")

    def target(self, reference: str) -> Schema:
        """Return what a (rewritten) reference names."""
        found = self.root
        for part in reference.partition("#")[2].split("/")[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            found = found[int(name)] if isinstance(found, list) else found[name]
        return found

    def text(self, schema: Schema) -> str:
        """Return a part and all it refers to as a text that is the same in every document that says the same."""
        if isinstance(schema, bool):
            return "true" if schema else "false"
        if id(schema) not in self._texts:
            self._texts[id(schema)] = schema, self._text(schema)
        return self._texts[id(schema)][1]

    def _text(self, schema: Schema) -> str:
        said = canonical(schema)
        if _MARK not in said:
            return said
        reached = {name for reference in references(schema) for name in self._reached_from(reference)}
        named = "".join(f"\n{name}={self._digest_of(name)}" for name in sorted(reached))
        return (said + named).replace(self.uri, "")

    def _reached_from(self, reference: str) -> set[str]:
        """Return the references that a reference leads to, itself among them."""
        if reference not in self._reached:
            found, waiting = {reference}, [reference]
            while waiting:
                further = set(references(self.target(waiting.pop()))) - found
                found |= further
                waiting += further
            self._reached[reference] = found
        return self._reached[reference]

    def _digest_of(self, reference: str) -> str:
        if reference not in self._digests:
            self._digests[reference] = digest_text(canonical(self.target(reference)).replace(self.uri, ""))
        return self._digests[reference]

    def _rewrite(self, schema: Schema, was: str, now: str, base: str) -> Schema:
        """Return `schema`, which stood at `was` and will stand at `now`, in 2020-12."""
        self._moved[was] = now
        if isinstance(schema, bool):
            return schema
        if not isinstance(schema, dict):
            raise SchemaRefused(was, "is neither an object nor a boolean")
        identity = schema.get("$id", schema.get("id"))
        if isinstance(identity, str) and "$ref" not in schema:
            base = urljoin(base, identity) if not identity.startswith("#") else base
            self._named[urldefrag(base)[0] if not identity.startswith("#") else base + identity] = was
        self._bases[now] = urldefrag(base)[0]
        for name in ("$anchor", "$dynamicAnchor"):
            if isinstance(schema.get(name), str):
                self._named[f"{urldefrag(base)[0]}#{schema[name]}"] = was
        result: dict[str, Any] = {}
        for keyword, value in _modern(schema, self._ignores_siblings).items():
            result[keyword] = self._rewrite_value(keyword, value, schema, was, now, base)
        return result

    def _rewrite_value(self, keyword: str, value: Any, schema: Mapping[str, Any], was: str, now: str, base: str) -> Any:
        if keyword in _MAPS and isinstance(value, dict):
            source = "dependencies" if keyword == "dependentSchemas" and keyword not in schema else keyword
            return {
                name: self._rewrite(part, was + pointer([source, name]), now + pointer([keyword, name]), base)
                for name, part in value.items()
            }
        if keyword in _LISTS and isinstance(value, list):
            source = "items" if keyword == "prefixItems" and keyword not in schema else keyword
            return [
                self._rewrite(part, f"{was}/{source}/{index}", f"{now}/{keyword}/{index}", base)
                for index, part in enumerate(value)
            ]
        if keyword in _SINGLES:
            source = "additionalItems" if keyword == "items" and isinstance(schema.get("items"), list) else keyword
            return self._rewrite(value, f"{was}/{source}", f"{now}/{keyword}", base)
        if keyword in _NUMBERS and isinstance(value, Decimal):
            return int(value) if value == int(value) else float(value)
        return value

    def _resolve_references(self, schema: Schema, at: str) -> None:
        """Make the references of a rewritten part absolute, within this document."""
        if not isinstance(schema, dict):
            return
        if "$ref" in schema:
            schema["$ref"] = f"{self.uri}#{self._place(schema['$ref'], at)}"
        for path, part in _parts(schema):
            self._resolve_references(part, at + path)

    def _place(self, reference: Any, at: str) -> str:
        """Return where in the rewritten document a reference written at `at` leads to."""
        if not isinstance(reference, str):
            raise SchemaRefused(f"{at}/$ref", "is no text")
        absolute = urljoin(self._bases[at], reference) if not reference.startswith("#") else self._bases[at] + reference
        resource, fragment = urldefrag(absolute)
        fragment = unquote(fragment)
        if absolute in self._named:
            was = self._named[absolute]
        elif fragment.startswith("/") or not fragment:
            outer = "" if resource == self._bases.get("", self.uri) else self._named.get(resource)
            if outer is None:
                raise SchemaRefused(f"{at}/$ref", f"names {reference}, which is outside this schema; put it into $defs")
            was = outer + fragment
        else:
            was = fragment
        if was not in self._moved:
            raise SchemaRefused(f"{at}/$ref", f"names {reference}, where no schema stands")
        return self._moved[was]


def _refuse_malformed(schema: Schema) -> None:
    """Refuse what is no schema of its dialect; one that names none may be written in any of three."""
    if isinstance(schema, bool):
        return
    written = [schema] if "$schema" in schema else [{"$schema": dialect, **schema} for dialect in _DIALECTS]
    faults = [fault for fault in map(_fault_of, written) if fault]
    if len(faults) == len(written):
        raise faults[0]


def _fault_of(schema: Schema) -> SchemaRefused | None:
    try:
        jsonschema_rs.meta.validate(schema)
    except jsonschema_rs.ValidationError as error:
        return SchemaRefused(pointer(error.instance_path), f"is no JSON Schema: {error.message}")
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        return SchemaRefused("/$schema", f"names a dialect that is not known: {error}")
    return None


def _modern(schema: Mapping[str, Any], ignores_siblings: bool) -> dict[str, Any]:
    """Return the keywords of one schema object in 2020-12, without annotations; parts are left as they are."""
    if "$ref" in schema and ignores_siblings:
        kept = {name: schema[name] for name in ("$defs", "definitions") if name in schema}
        return {"$ref": schema["$ref"], **kept}
    result = {
        keyword: value
        for keyword, value in schema.items()
        if (keyword in ASSERTIONS or keyword in ("$defs", "definitions")) and keyword not in _ANNOTATIONS | _IDENTITY
    }
    if "$dynamicRef" in schema or "$recursiveRef" in schema:
        # Within one document, and with one anchor of the name, a dynamic reference leads where a plain one does.
        result.setdefault("$ref", schema.get("$dynamicRef", schema.get("$recursiveRef")))
    if "const" in schema:
        constant = canonical(schema["const"])  # text, since Python takes 1 for True
        listed = result.get("enum", [schema["const"]])
        result["enum"] = [value for value in listed if canonical(value) == constant]
    if isinstance(result.get("items"), list):
        result["prefixItems"] = result.pop("items")
        if "additionalItems" in schema:
            result["items"] = schema["additionalItems"]
    if not all(isinstance(needed, list) for needed in result.get("dependentRequired", {}).values()):
        raise SchemaRefused("", "has a dependentRequired that is no list of names")
    if "dependencies" in schema:
        needed = schema["dependencies"]
        lists = {name: value for name, value in needed.items() if isinstance(value, list)}
        schemas = {name: value for name, value in needed.items() if not isinstance(value, list)}
        if lists:
            result["dependentRequired"] = {**lists, **result.get("dependentRequired", {})}
        if schemas:
            result["dependentSchemas"] = {**schemas, **result.get("dependentSchemas", {})}
    for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        is_draft_4 = isinstance(result.get(exclusive), bool)
        if is_draft_4 and result.pop(exclusive) and bound in result:
            result[exclusive] = result.pop(bound)
    for keyword, void in (("minLength", 0), ("minItems", 0), ("minProperties", 0), ("uniqueItems", False)):
        if keyword in result and result[keyword] == void:
            del result[keyword]
    for keyword in ("required", "allOf", "dependentRequired", "prefixItems", "dependentSchemas"):
        if keyword in result and not result[keyword]:
            del result[keyword]
    return result


def _parts(schema: Mapping[str, Any]) -> Iterator[tuple[str, Schema]]:
    """Yield (pointer, part) of the schemas that stand directly in a schema object."""
    for keyword, value in schema.items():
        if keyword in _MAPS:
            for name, part in value.items():
                yield pointer([keyword, name]), part
        elif keyword in _LISTS:
            for index, part in enumerate(value):
                yield f"/{keyword}/{index}", part
        elif keyword in _SINGLES:
            yield f"/{keyword}", value


def references(schema: Schema) -> Iterator[str]:
    """Yield the references that stand anywhere in a part."""
    waiting = [schema]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if "$ref" in part:
                yield part["$ref"]
            waiting += [inner for _, inner in _parts(part)]
