"""Governed objects as documents: what their JSON may hold, and what an absent member means.

Enums, lengths and defaults are those of the tables in `lake.tables`. A document is kept as it was received
(`Received.text`), so that JSON in equals JSON out, numbers included.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Generic, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from guard.canonical import JsonFault, digest, parse
from lake.spec import TableSpec
from lake.tables import (
    AGENT,
    CONSUMER_SUBSCRIPTION,
    ONTOLOGY_NODE,
    POLICY,
    REFLECTION_LOG,
    ROLE,
    ROLE_SKILL_MAP,
    SCHEMA_REGISTRY,
    SKILL_NODE,
    STEP_ACTION,
    TRIGGER_DEF,
    WORKFLOW,
)
from registry.fields import (
    INT_MAX,
    INTEGRAL,
    Id,
    Json,
    Many,
    Moment,
    Rule,
    Share,
    Texts,
    Version,
    anchored,
    default,
    matching,
    of,
)

UNVERSIONED = "1"
"""The version of objects whose documents carry none."""

_CONTAINER = re.compile(r"(array|map)<(?:(?<=map<)string, *)?(.+)>", re.ASCII)
_WORKLOAD_IDENTITY = re.compile(r"(role/|spiffe://)[!-~]+")
_SECRET_REF = re.compile(r"[a-z][a-z0-9-]*:[!\"$-~]+(#[!-~]+)?", re.ASCII)
_EFFECT = re.compile(r"[a-z_]+\.[a-z_]+", re.ASCII)


@dataclass(frozen=True, order=True)
class Fault:
    """One thing that is wrong with a document: where, what, and what to do."""

    document: str
    path: str
    problem: str
    fix: str

    def __str__(self) -> str:
        return f"{self.document} {self.path or '/'}: {self.problem}; {self.fix}"


class DocumentRefused(ValueError):
    """A document that is not one of its kind; `faults` names everything that is wrong with it."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = faults


def _is_integral(value: Any) -> bool:
    return isinstance(value, int | Decimal) and not isinstance(value, bool) and value == int(value)


_SCALARS: Mapping[str, Callable[[Any], bool]] = {
    "any": lambda _: True,
    "string": lambda value: isinstance(value, str),
    "number": lambda value: isinstance(value, int | Decimal | float) and not isinstance(value, bool),
    "integer": _is_integral,
    "boolean": lambda value: isinstance(value, bool),
    "object": lambda value: isinstance(value, Mapping),
}


_TYPE_PATTERN = rf"^(?:{'|'.join(_SCALARS)}|(?:array|map)<.+>)$"
"""What JSON Schema can say of a type's name: not that the types within it are some."""


def _is_type(name: str) -> str:
    if name not in _SCALARS:
        container = _CONTAINER.fullmatch(name)
        if container is None:
            raise ValueError(f"must be {', '.join(_SCALARS)}, array<type> or map<string,type>")
        _is_type(container[2])
    return name


def container_of(type_name: str) -> tuple[str, str] | None:
    """Return `array` or `map` and the type of what it holds, None for a scalar's type."""
    container = _CONTAINER.fullmatch(type_name)
    return (container[1], container[2]) if container else None


def fits(value: Any, type_name: str) -> bool:
    """Tell whether parsed JSON is of a signature's type."""
    if scalar := _SCALARS.get(type_name):
        return scalar(value)
    container = _CONTAINER.fullmatch(type_name)
    assert container is not None, "type names are validated with the signature"
    if container[1] == "array":
        return isinstance(value, list | tuple) and all(fits(item, container[2]) for item in value)
    return isinstance(value, Mapping) and all(fits(item, container[2]) for item in value.values())


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Document(_Closed):
    """A governed object."""

    spec: ClassVar[TableSpec]

    @property
    def key(self) -> tuple[Any, ...]:
        """The key within its table."""
        return tuple(getattr(self, name) for name in self.spec.key)

    @property
    def object_id(self) -> str:
        return "/".join(self.key)

    @property
    def object_version(self) -> str:
        return getattr(self, "version", UNVERSIONED)


class Role(Document):
    """Who answers for something. `supervises_role_id` holds the role that supervises this one."""

    spec: ClassVar = ROLE
    role_id: Id
    role_title: Annotated[str, of(ROLE, "role_title")]
    department: Annotated[str, of(ROLE, "department")]
    hierarchy_level: Annotated[str, of(ROLE, "hierarchy_level")]
    supervises_role_id: Id | None = None
    role_type: Annotated[str, of(ROLE, "role_type")] = default(ROLE, "role_type")


class Argument(_Closed):
    """An argument of a skill. One with a `default` may be absent; `aliases` are other names a step may use."""

    name: str
    type: Annotated[str, Rule(_is_type, {"pattern": _TYPE_PATTERN})]
    required: bool = False
    default: Any = None
    aliases: Texts = ()
    references: Annotated[str, matching(re.compile("role|workflow"), "role or workflow")] | None = None

    @property
    def has_default(self) -> bool:
        return "default" in self.model_fields_set


class Signature(_Closed):
    """The contract of a skill."""

    name: str
    args: Annotated[tuple[Argument, ...], Many] = ()
    returns: Json = Field(default_factory=dict)
    errors: Texts = ()

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [name for argument in self.args for name in (argument.name, *argument.aliases)]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"names {', '.join(twice)} twice among arguments and aliases")
        return self

    def argument(self, name: str) -> Argument | None:
        """Return the argument that `name` or one of its aliases names."""
        return next((argument for argument in self.args if name in (argument.name, *argument.aliases)), None)

    def name_of(self, name: str) -> str:
        """Return the argument's own name for one of its names; a name that is none stays."""
        argument = self.argument(name)
        return argument.name if argument else name


class SecretRef(_Closed):
    """Where a secret is kept; the secret itself is in no document."""

    secret_ref: Annotated[str, matching(_SECRET_REF, "a reference such as vault:kv/prod/sap#token")]


def _workload_identity(value: Any) -> Any:
    if isinstance(value, str) and not _WORKLOAD_IDENTITY.fullmatch(value):
        raise ValueError('must be {"secret_ref": ...} or a workload identity (role/..., spiffe://...)')
    return value


def _with_workload_identity(schema: dict[str, Any]) -> dict[str, Any]:
    text = {"type": "string", "pattern": anchored(_WORKLOAD_IDENTITY)}
    return {**schema, "anyOf": [text if item == {"type": "string"} else item for item in schema["anyOf"]]}


_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_PATH = re.compile(r"/[^\s?#]*")
Header = Annotated[str, matching(_HEADER_NAME, "a header's name, such as Idempotency-Key")]
HttpPath = Annotated[str, matching(_PATH, "a path that begins with /")]


class HttpBinding(_Closed):
    """How an HTTP adapter asks for what a skill does; the binding's `endpoint` is the base of its URLs.

    A path holds arguments in braces (`/orders/{po_id}`). The body is a JSON object of the arguments, or of what `body`
    names: member -> argument, or dotted path of what the episode knows. Of the answer, a JSON object, the output holds
    all, or what `output` names: member -> dotted path. `answer` is the JSON Schema of the output, whose marks `x-pii`
    say what is replaced before it is recorded.

    With `idempotency_header` the adapter sends the effect's key, and the other side promises to do each key once.
    `look_up` is the path at which it tells what came of a `{key}`, with 404 for a key that it does not know. `auth` of
    the binding is sent in `auth_header`, as a bearer token where that is Authorization.
    """

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    path: HttpPath = "/"
    body: Mapping[str, str] | None = None
    output: Mapping[str, str] | None = None
    answer: Json | None = None
    idempotency_header: Header | None = None
    look_up: HttpPath | None = None
    auth_header: Header = "Authorization"
    max_bytes: Annotated[int, Field(gt=0, le=16_777_216), INTEGRAL] = 1_048_576

    @model_validator(mode="after")
    def _looks_a_key_up(self) -> Self:
        if self.look_up is not None and "{key}" not in self.look_up:
            raise ValueError("look_up needs {key} in its path")
        return self


class RuntimeBinding(_Closed):
    """How a skill reaches its system.

    `effects` holds, per action, the effect category `domain.verb`; the action of a skill without an `action` argument
    is its signature's name. `http` says how the adapter of that name asks, `simulation` how a simulated one behaves.
    """

    adapter: str
    system: str | None = None
    endpoint: str | None = None
    auth: Annotated[SecretRef | str | None, Rule(_workload_identity, _with_workload_identity, comes_first=True)] = None
    network: Json | None = None
    http: HttpBinding | None = None
    effects: Mapping[str, Annotated[str, matching(_EFFECT, "an effect category domain.verb")]] = Field(
        default_factory=dict
    )
    timeouts_ms: Annotated[int, Field(gt=0, le=INT_MAX), INTEGRAL] = 30_000
    retries: Annotated[int, Field(ge=0, le=100), INTEGRAL] = 0
    simulation: Json | None = None


class SkillNode(Document):
    """An atomic capability."""

    spec: ClassVar = SKILL_NODE
    skill_id: Id
    skill_name: Annotated[str, of(SKILL_NODE, "skill_name")]
    category: Annotated[str, of(SKILL_NODE, "category")]
    signature: Signature
    description: str = ""
    runtime_binding: RuntimeBinding
    version: Version
    stability_tier: Annotated[str, of(SKILL_NODE, "stability_tier")] = default(SKILL_NODE, "stability_tier")
    owner_role_id: Id
    is_generator: bool = default(SKILL_NODE, "is_generator")


class RoleSkill(Document):
    """What a role may do with a skill."""

    spec: ClassVar = ROLE_SKILL_MAP
    role_id: Id
    skill_id: Id
    permission: Annotated[str, of(ROLE_SKILL_MAP, "permission")] = default(ROLE_SKILL_MAP, "permission")


class StepAction(Document):
    """A step of a workflow. `next_step_logic` is the step language of `registry.steps`."""

    spec: ClassVar = STEP_ACTION
    step_id: Id
    workflow_id: Id | None = None
    sequence: Annotated[int, Field(ge=1, le=INT_MAX), INTEGRAL]
    action_type: Annotated[str, of(STEP_ACTION, "action_type")]
    skill_id: Id
    parameters: Json = Field(default_factory=dict)
    next_step_logic: Json | str
    timeout_ms: Annotated[int, Field(gt=0, le=INT_MAX), INTEGRAL] = default(STEP_ACTION, "timeout_ms")
    retries: Annotated[int, Field(ge=0, le=100), INTEGRAL] = default(STEP_ACTION, "retries")
    idempotency_key: Annotated[str, of(STEP_ACTION, "idempotency_key")] | None = None


class Selector(_Closed):
    """What a trigger listens to: a topic, narrowed by a condition on the payload (`trigger`), or a cron schedule.

    `timezone` is the schedule's IANA zone, UTC if absent; `auth` the secret by which a webhook's sender proves itself.
    A trigger of type condition holds its condition against the rows of a `mart`, and fires once for each value of the
    `key` columns. `supersedes` lists triggers of other workflows on the same topic: an event that this one takes starts
    them no more.
    """

    topic: str | None = None
    condition: str | None = None
    cron: str | None = None
    timezone: str | None = None
    auth: SecretRef | None = None
    mart: str | None = None
    key: Texts = ()
    supersedes: Texts = ()


class Trigger(Document):
    """What starts a workflow."""

    spec: ClassVar = TRIGGER_DEF
    trigger_id: Id
    trigger_type: Annotated[str, of(TRIGGER_DEF, "trigger_type")]
    selector: Selector


class Constraints(BaseModel):
    """Service levels and policy tags; further ones are kept as they are."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    latency_ms: Annotated[int, Field(gt=0, le=2**63 - 1), INTEGRAL] | None = None
    max_error_rate: Share | None = None
    policy_tags: Texts = ()


class Workflow(Document):
    """A program of steps. Absent steps and triggers are added later; a workflow without steps cannot be active."""

    spec: ClassVar = WORKFLOW
    workflow_id: Id
    workflow_name: Annotated[str, of(WORKFLOW, "workflow_name")]
    objective: str
    constraints: Constraints = Field(default_factory=Constraints)
    responsible_role_id: Id
    genome: Json = Field(default_factory=dict)
    status: Annotated[str, of(WORKFLOW, "status")] = default(WORKFLOW, "status")
    version: Version
    lineage: Json = Field(default_factory=dict)
    steps: Annotated[tuple[StepAction, ...], Many] = ()
    triggers: Annotated[tuple[Trigger, ...], Many] = ()


class PolicyProfile(BaseModel):
    """What narrows an agent's role (`registry.permissions`); further members are kept as they are.

    `skills` lists the skills it runs, `actions` what it may do at all, `deny` per action the ids of objects, or `*`.
    """

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    skills: Texts = ()
    actions: Annotated[tuple[Literal["run", "propose", "publish", "decide", "purge", "hold"], ...], Many] = (
        "run",
        "propose",
    )
    deny: Mapping[Literal["run", "propose", "publish", "decide", "purge", "hold"], Texts] = Field(default_factory=dict)


class Agent(Document):
    """An execution principal."""

    spec: ClassVar = AGENT
    agent_id: Id
    agent_name: Annotated[str, of(AGENT, "agent_name")]
    agent_type: Annotated[str, of(AGENT, "agent_type")]
    role_id: Id
    policy_profile: PolicyProfile = Field(default_factory=PolicyProfile)
    organisation: Annotated[str, of(AGENT, "organisation")] = default(AGENT, "organisation")


class Policy(Document):
    """A guardrail. Without a name it is called by its id; without an owner it belongs to Security & Compliance."""

    spec: ClassVar = POLICY
    policy_id: Id
    policy_name: Annotated[str, of(POLICY, "policy_name")] = ""
    scope: Annotated[str, of(POLICY, "scope")]
    spec_: Annotated[Json, Field(alias="spec")]
    owner_role_id: Id = "SEC-M-001"
    precedence: Annotated[str, of(POLICY, "precedence")] = default(POLICY, "precedence")
    effective_from: Moment | None = None
    effective_to: Moment | None = None


class OntologyNode(Document):
    """A term."""

    spec: ClassVar = ONTOLOGY_NODE
    node_id: Id
    node_type: Annotated[str, of(ONTOLOGY_NODE, "node_type")]
    label: Annotated[str, of(ONTOLOGY_NODE, "label")]
    attributes: Json = Field(default_factory=dict)
    parent_id: Id | None = None


class ConsumerSubscription(Document):
    """Which versions of a topic's schema a consumer can read."""

    spec: ClassVar = CONSUMER_SUBSCRIPTION
    consumer_id: Id
    subject: Annotated[str, of(CONSUMER_SUBSCRIPTION, "subject")]
    versions: Annotated[tuple[Annotated[int, Field(ge=1, le=INT_MAX), INTEGRAL], ...], Field(min_length=1), Many]


class ProposedAction(BaseModel):
    """What could be done about an insight; what it needs depends on its type and is kept as it is."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    type: str


class Reflection(Document):
    """What was learned from a run. Without an id it is given one when it is recorded."""

    spec: ClassVar = REFLECTION_LOG
    reflection_id: Id | None = None
    source_type: Annotated[str, of(REFLECTION_LOG, "source_type")]
    source_id: Id
    workflow_id: Id | None = None
    insight_type: Annotated[str, of(REFLECTION_LOG, "insight_type")]
    insight: Json
    learning_signal: Json = Field(default_factory=dict)
    proposed_actions: Annotated[tuple[ProposedAction, ...], Many] = ()
    reviewer_role_id: Id | None = None

    @property
    def object_id(self) -> str:
        return self.reflection_id or ""


class EventSchema(Document):
    """The schema of a topic's payloads; strings marked `x-pii` hold personal data."""

    spec: ClassVar = SCHEMA_REGISTRY
    subject: Annotated[str, of(SCHEMA_REGISTRY, "subject")]
    version: Annotated[int, Field(ge=1, le=INT_MAX), INTEGRAL]
    semver: Version
    format: Annotated[str, of(SCHEMA_REGISTRY, "format")]
    schema_: Annotated[Json, Field(alias="schema")]
    compatibility: Annotated[str, of(SCHEMA_REGISTRY, "compatibility")] = default(SCHEMA_REGISTRY, "compatibility")
    content_model: Annotated[str, of(SCHEMA_REGISTRY, "content_model")] = default(SCHEMA_REGISTRY, "content_model")

    @property
    def object_id(self) -> str:
        return self.subject

    @property
    def object_version(self) -> str:
        return str(self.version)


D = TypeVar("D", bound=Document)


@dataclass(frozen=True)
class Received(Generic[D]):
    """A document with its text as it was received.

    Attributes:
        name: what to call it in a message, such as its file.
        text: the JSON, verbatim.
        value: the parsed JSON, every digit kept.
    """

    name: str
    text: str
    value: Any
    body: D

    @property
    def identity(self) -> tuple[str, str]:
        """Type and id of the object."""
        return self.body.spec.name, self.body.object_id

    @property
    def hash(self) -> str:
        """SHA-256 of the document's canonical JSON."""
        return digest(self.value)


def read_document(kind: type[D], text: str | bytes, *, name: str) -> Received[D]:
    """Return the document that `text` holds.

    Raises:
        DocumentRefused: it is no JSON as this platform takes it, or not a document of this kind; with all its faults.
    """
    try:
        value = parse(text)
    except JsonFault as fault:
        raise DocumentRefused([Fault(name, fault.path, str(fault), fault.fix)]) from None
    try:
        body = kind.model_validate(value)
    except ValidationError as error:
        raise DocumentRefused([_fault(kind, name, detail) for detail in error.errors(include_url=False)]) from None
    return Received(name, text if isinstance(text, str) else text.decode(), value, body)


def _fault(kind: type[Document], name: str, detail: Mapping[str, Any]) -> Fault:
    path = "".join(f"/{part}" for part in detail["loc"])
    if detail["type"] == "missing":
        return Fault(name, path, "is missing", "add it")
    if detail["type"] == "extra_forbidden":
        return Fault(name, path, f"is no member of a {kind.__name__}", "remove it or correct its name")
    if detail["type"] in ("model_type", "dict_type"):
        return Fault(name, path, "is no JSON object", "write {...}")
    message = detail["msg"].removeprefix("Value error, ")
    return Fault(name, path, f"does not fit: {message}", "correct the value")
