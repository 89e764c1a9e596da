"""Pictures of the registry's workflows, as `rwcm workflow show` writes them."""

from collections.abc import Callable, Mapping

from rich.console import Console
from rich.markup import escape
from rich.tree import Tree

from app.console import console
from lake.home import Home
from registry.database import Registry
from registry.diagrams import Graph, graph_of, to_bpmn, to_mermaid, to_svg
from registry.diagrams.words import step_in_words, trigger_in_words, ways_in_words
from registry.documents import Workflow
from registry.objects import NotRegistered, current_documents, document_in_version


def picture(home: Home, workflow_id: str, version: str | None, form: str) -> str:
    """Return a workflow of a home's registry in one of `FORMS`.

    Raises:
        NotRegistered: there is no such workflow or version.
        DocumentRefused: a draft whose steps cannot be read.
    """
    if not home.has_registry:
        raise NotRegistered("workflow", workflow_id, version)
    registry = Registry.open(home.registry)
    try:
        with registry.read() as connection:
            if version is None:
                received = current_documents(connection, Workflow, workflow_id=workflow_id).get(workflow_id)
            else:
                received = document_in_version(connection, Workflow, workflow_id, version)
    finally:
        registry.close()
    if received is None:
        raise NotRegistered("workflow", workflow_id, version)
    return FORMS[form](graph_of(received.body))


def outline(graph: Graph) -> str:
    """Return the workflow as a tree for the terminal: its starts, its steps, and the ways on of each."""
    workflow = graph.workflow
    tree = Tree(f"[bold]{workflow.workflow_id}[/] {escape(workflow.workflow_name)} {workflow.version}", highlight=False)
    for trigger in workflow.triggers:
        tree.add(f"starts on {escape(trigger_in_words(trigger))}")
    for step in sorted(workflow.steps, key=lambda step: step.sequence):
        logic = graph.logics[step.step_id]
        branch = tree.add(f"[bold]{step.step_id}[/] {escape(step_in_words(step))} [dim]{step.skill_id}[/]")
        if logic.join:
            branch.add(f"starts when {'all ways' if logic.join == 'all' else 'the first way'} to it came")
        for when, targets in ways_in_words(logic):
            branch.add(f"{escape(when)} → {', '.join(targets)}")
        if logic.compensate:
            branch.add(f"undone by {logic.compensate}")
    wide = Console(width=console.width if console.is_terminal else 200, force_terminal=console.is_terminal)
    with wide.capture() as captured:
        wide.print(tree, soft_wrap=False)
    return captured.get()


FORMS: Mapping[str, Callable[[Graph], str]] = {
    "text": outline,
    "mermaid": to_mermaid,
    "bpmn": to_bpmn,
    "svg": to_svg,
}
