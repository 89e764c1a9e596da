"""What a workflow may refer to."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from registry.checks.shapes import Shape, returned_shape, shape_of
from registry.contracts import is_personal, policy_tags
from registry.documents import Signature, StepAction


@dataclass(frozen=True)
class Known:
    """What a workflow may refer to.

    Attributes:
        skills: skill id -> its signature.
        roles: role ids.
        schemas: topic -> the JSON Schema of its payloads.
        personal: topics whose payloads are personal as a whole.
        effects: skill id -> action -> effect category; a skill that is not named has none.
        calls: workflow id -> the workflows that it calls; None if it is not known which workflows there are.
    """

    skills: Mapping[str, Signature]
    roles: Collection[str]
    schemas: Mapping[str, Mapping[str, Any]]
    personal: Collection[str] = ()
    effects: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    calls: Mapping[str, Collection[str]] | None = None

    @cached_property
    def _shapes(self) -> dict[tuple[str, str], Shape | None]:
        return {}

    def payload(self, topic: str) -> Shape | None:
        """Return the shape of a topic's payloads, None if the topic is not known."""
        key = ("topic", topic)
        if key not in self._shapes:
            self._shapes[key] = self._payload(topic) if topic in self.schemas else None
        return self._shapes[key]

    def _payload(self, topic: str) -> Shape:
        schema = self.schemas[topic]
        return shape_of(schema, is_personal=topic in self.personal or is_personal(policy_tags(schema)))

    def returned(self, skill_id: str) -> Shape | None:
        """Return the shape of what a skill returns, None if it promises nothing or is not known."""
        key = ("skill", skill_id)
        if key not in self._shapes:
            signature = self.skills.get(skill_id)
            self._shapes[key] = returned_shape(signature.returns) if signature else None
        return self._shapes[key]

    def has_effect(self, step: StepAction) -> bool:
        """Tell whether a step changes something outside; an action that is computed counts as one that does."""
        effects = self.effects.get(step.skill_id, {})
        action = step.parameters.get("action")
        if not effects or not isinstance(action, str):
            return bool(effects)
        return action in effects or "${" in action
