"""The rules of access, held to an oracle that knows nothing of how they are computed."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.documents import PolicyProfile
from registry.permissions import PLATFORM, Action, Permissions, Principal, RegisteredAgent, Target

ROLES = ["R0", "R1", "R2", "R3", "R4"]
SKILLS = ["S0", "S1"]
RANK = {"use": 1, "maintain": 2, "publish": 3}
KINDS = ["skill_node", "workflow", "policy", "role", "publication_queue"]


@st.composite
def worlds(draw: st.DrawFn) -> Permissions:
    """Return a small company: a forest of roles, grants, an agent, publishers and reviewers."""
    supervisor = {role: draw(st.sampled_from([None, *ROLES[:n]])) for n, role in enumerate(ROLES)}
    pairs = list(product(SKILLS, ROLES))
    chosen = draw(st.dictionaries(st.sampled_from(pairs), st.sampled_from(sorted(RANK)), max_size=5))
    grants: dict[str, dict[str, str]] = {}
    for (skill, role), level in chosen.items():
        grants.setdefault(skill, {})[role] = level
    some_roles = st.frozensets(st.sampled_from(ROLES), max_size=2)
    profile = PolicyProfile(
        skills=tuple(draw(st.sets(st.sampled_from(SKILLS)))),
        actions=tuple(draw(st.sets(st.sampled_from(["run", "propose", "publish", "decide"])))),  # type: ignore[arg-type]
        deny={"publish": tuple(draw(st.sets(st.sampled_from(["*", "S0", "O"]), max_size=1)))},
    )
    return Permissions(
        supervisor=supervisor,
        grants=grants,
        agents={"AG": RegisteredAgent(draw(st.sampled_from(ROLES)), profile)},
        publishers=draw(st.dictionaries(st.sampled_from(KINDS), some_roles, max_size=3)),
        reviewers=draw(some_roles),
    )


targets = st.builds(
    Target,
    object_type=st.sampled_from(KINDS),
    object_id=st.sampled_from([*SKILLS, "O"]),
    exists=st.booleans(),
    owner=st.sampled_from([None, *ROLES]),
    skills=st.frozensets(st.sampled_from(SKILLS)),
    proposed_by=st.sampled_from(["ann", "bob", None]),
)
principals = st.one_of(
    st.builds(Principal, st.just("ann"), st.just("person"), st.sampled_from([*ROLES, "GONE", None])),
    st.builds(Principal, st.just("AG"), st.just("agent"), st.sampled_from(ROLES)),
)


def oracle(world: Permissions, who: Principal, action: Action, what: Target) -> bool:
    """Say it again, from the table in the module's docstring, by enumerating what a principal stands for."""
    if who.role_id not in ROLES:
        return False
    stands_for = {who.role_id}
    for _ in ROLES:
        stands_for |= {role for role, above in world.supervisor.items() if above in stands_for}

    def level(skill: str) -> int:
        return max((RANK[p] for role, p in world.grants.get(skill, {}).items() if role in stands_for), default=0)

    def on_all(rank: int) -> bool:
        return len(what.skills) > 0 and min(level(skill) for skill in what.skills) >= rank

    if who.subject_type == "agent":
        agent = world.agents["AG"]
        assert agent.profile is not None
        names = {what.object_id, "*"} | what.skills
        if agent.role_id != who.role_id or action not in agent.profile.actions:
            return False
        if names & set(agent.profile.deny.get(action, ())):
            return False
        if action == "run" and what.object_type == "skill_node" and what.object_id not in agent.profile.skills:
            return False
    kind, is_owner = what.object_type, what.owner in stands_for
    if action == "run":
        return {"skill_node": level(what.object_id) >= 1, "workflow": is_owner or on_all(1)}.get(kind, False)
    if action == "propose":
        if not what.exists:
            return True
        return {"skill_node": is_owner or level(what.object_id) >= 2, "workflow": is_owner or on_all(2)}.get(kind, True)
    if action == "publish":
        is_publisher = bool(stands_for & world.publishers.get(kind, frozenset()))
        by_kind = {
            "skill_node": level(what.object_id) >= 3,
            "workflow": on_all(3),
            "policy": what.exists and is_owner,
        }
        return is_publisher or by_kind.get(kind, False)
    is_queued = kind == "publication_queue" and what.exists
    return is_queued and what.proposed_by != who.subject_id and bool(stands_for & world.reviewers)


@settings(max_examples=1500)
@given(worlds(), principals, st.sampled_from(["run", "propose", "publish", "decide"]), targets)
def test_the_rules_agree_with_their_table(world: Permissions, who: Principal, action: Action, what: Target) -> None:
    """A rule that is too wide lets somebody change what they do not answer for."""
    assert (world.refusal(who, action, what) is None) == oracle(world, who, action, what)


@given(worlds(), principals, targets)
def test_whoever_may_publish_a_skill_by_grant_may_also_change_and_use_it(
    world: Permissions, who: Principal, what: Target
) -> None:
    """Permissions rise: publish without use would be a grant that nobody meant."""
    if who.role_id in world.supervisor and who.role_id is not None:
        for skill in SKILLS:
            held = [world.may(who.role_id, level, skill) for level in ("publish", "maintain", "use")]
            assert held == sorted(held)


@given(worlds(), targets)
def test_a_supervisor_may_what_the_roles_below_may(world: Permissions, what: Target) -> None:
    """Otherwise a manager could not stand in for the people whose work they answer for."""
    for role, above in world.supervisor.items():
        if above is None:
            continue
        for action in ("run", "propose", "publish", "decide"):
            below = world.refusal(Principal("ann", "person", role), action, what)  # type: ignore[arg-type]
            if below is None:
                assert world.refusal(Principal("ann", "person", above), action, what) is None  # type: ignore[arg-type]


def test_roles_that_supervise_each_other_end_the_search() -> None:
    """The loader refuses a circle, but a database can be edited: the check must end, not hang."""
    world = Permissions(supervisor={"A": "B", "B": "A"}, grants={"S": {"A": "use"}})
    assert world.may("B", "use", "S")
    assert not world.acts_for("C", "A")


def test_the_platform_proposes_and_does_nothing_else() -> None:
    """A scheduler that could publish would be a way around every reviewer."""
    world = Permissions(supervisor={"R": None}, publishers={"role": frozenset({"R"})}, reviewers=frozenset({"R"}))
    permitted = {
        action: world.refusal(PLATFORM, action, Target("role", "R2")) is None
        for action in ("run", "propose", "publish", "decide")
    }
    assert permitted == {"run": False, "propose": True, "publish": False, "decide": False}


def test_an_agent_whose_profile_cannot_be_read_may_nothing() -> None:
    """Denials that cannot be read are not denials that do not exist."""
    world = Permissions(
        supervisor={"R": None}, grants={"S": {"R": "publish"}}, agents={"AG": RegisteredAgent("R", None)}
    )
    reason = world.refusal(Principal("AG", "agent", "R"), "run", Target("skill_node", "S"))
    assert reason is not None and "policy_profile" in reason


@pytest.mark.parametrize("subject", ["AG-NOBODY", "AG"])
def test_an_agent_must_be_registered_in_the_role_it_claims(subject: str) -> None:
    """A role that an agent had before must not go on working for it."""
    world = Permissions(
        supervisor={"OLD": None, "NEW": None},
        agents={"AG": RegisteredAgent("NEW", PolicyProfile(skills=("S",)))},
        grants={"S": {"OLD": "use"}},
    )
    assert world.refusal(Principal(subject, "agent", "OLD"), "run", Target("skill_node", "S")) is not None
