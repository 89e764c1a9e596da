"""Workflows as BPMN 2.0: valid by the OMG's schema, nothing lost, and drawn by another's viewer without a warning."""

from collections import Counter
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from guard.canonical import parse
from registry.diagrams import graph_of, to_bpmn, to_svg
from registry.diagrams.bpmn import CEL, duration
from registry.diagrams.graph import xml_name
from registry.documents import Workflow, read_document
from registry.loader import PACK
from registry.steps import END, parse_logic
from tests.browser import evaluated, installed
from tests.workflows import HARD, workflow, workflows

NS = {
    "b": "http://www.omg.org/spec/BPMN/20100524/MODEL",
    "di": "http://www.omg.org/spec/BPMN/20100524/DI",
    "xsi": "http://www.w3.org/2001/XMLSchema-instance",
}
TASKS = ("userTask", "sendTask", "serviceTask", "businessRuleTask")


def shipped() -> Workflow:
    text = (PACK / "workflows/WF-FIN-001.json").read_bytes()
    return read_document(Workflow, text, name="WF-FIN-001").body


@cache
def schema() -> etree.XMLSchema:
    package = installed("bpmn-js").parent / "bpmn-moddle"
    return etree.XMLSchema(etree.parse(package / "resources/bpmn/xsd/BPMN20.xsd"))


def exported(drawn: Workflow) -> Any:
    return etree.fromstring(to_bpmn(graph_of(drawn)).encode())


def found(root: Any, path: str) -> list[Any]:
    return root.xpath(path, namespaces=NS)


@settings(max_examples=40)
@given(workflows(text=st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)))
def test_any_workflow_is_valid_bpmn(drawn: Workflow) -> None:
    """Other tools would refuse the file; ids, whatever signs a step's has, are part of that."""
    root = exported(drawn)
    assert schema().validate(root), schema().error_log


@settings(max_examples=40)
@given(workflows())
def test_every_step_and_every_way_is_there_once(drawn: Workflow) -> None:
    """A step or a way would be lost, or stand twice as if it ran twice."""
    root = exported(drawn)
    logics = {step.step_id: parse_logic(step.next_step_logic) for step in drawn.steps}
    undoing = {task.get("id") for task in found(root, "//b:*[@isForCompensation='true']")}
    steps = {step_id: f"step_{xml_name(step_id)}" for step_id in logics}
    tasks = [task.get("id") for tag in TASKS for task in found(root, f"//b:{tag}")]
    assert Counter(t for t in tasks if t.startswith("step_")) == Counter(steps.values())

    flowing = [logic for step_id, logic in logics.items() if steps[step_id] not in undoing]
    targets = Counter(target for logic in flowing for _, target in logic.ways())
    entry = next(iter(logics))
    targets[entry] += max(1, len(drawn.triggers))
    for step_id, logic in logics.items():
        if steps[step_id] not in undoing:
            name = xml_name(step_id)
            key = f"join_{name}" if logic.join else f"bound_{name}" if logic.loop else f"step_{name}"
            assert len(found(root, f"//b:sequenceFlow[@targetRef='{key}']")) == targets[step_id], step_id
    assert len(found(root, "//b:endEvent")) == targets[END]
    conditions = [element.text for element in found(root, "//b:conditionExpression[@language]")]
    assert Counter(conditions) == Counter(branch.condition.text for logic in flowing for branch in logic.branches)
    assert len(found(root, "//b:boundaryEvent/b:errorEventDefinition")) == sum(bool(x.on_error) for x in flowing)
    assert len(found(root, "//b:timerEventDefinition")) == sum(bool(x.awaits) for x in flowing)
    assert len(found(root, "//b:compensateEventDefinition")) == sum(bool(x.compensate) for x in logics.values())


@settings(max_examples=40)
@given(workflows())
def test_what_undoes_has_no_flow(drawn: Workflow) -> None:
    """BPMN 2.0 10.6: a compensation activity must have no incoming or outgoing sequence flow."""
    root = exported(drawn)
    for task in found(root, "//b:*[@isForCompensation='true']"):
        flows = f"//b:sequenceFlow[@sourceRef='{task.get('id')}' or @targetRef='{task.get('id')}']"
        assert not found(root, flows)
        assert found(root, f"//b:association[@targetRef='{task.get('id')}']")


def test_the_elements_mean_what_the_steps_do() -> None:
    """An engine or an analyst would read another process: by hand from WF-FIN-001."""
    root = exported(shipped())
    tags = {e.get("id"): etree.QName(e).localname for e in found(root, "//b:process/b:*[@id]")}
    assert [tags[f"step_F-0{number}"] for number in range(1, 6)] == [
        "serviceTask",
        "businessRuleTask",
        "userTask",
        "serviceTask",
        "sendTask",
    ]
    assert tags["wait_F-03"] == "eventBasedGateway"
    assert found(root, "//b:intermediateCatchEvent[@id='timer_F-03']//b:timeDuration/text()") == ["PT72H"]
    (message,) = found(root, "//b:message[@name='handoff.decided']/@id")
    assert found(root, f"//b:intermediateCatchEvent[.//*[@messageRef='{message}']]/@id") == ["message_F-03"]
    assert found(root, "//b:startEvent/b:messageEventDefinition")
    assert {e.text: e.get("language") for e in found(root, "//b:conditionExpression")} == dict.fromkeys(
        ("pass==true", "pass==false", 'event.decision=="approved"', 'event.decision=="rejected"'), CEL
    )
    assert found(root, "//b:process/@isExecutable") == ["false"]
    (documented,) = found(root, "//*[@id='step_F-02']/b:documentation")
    step = parse((PACK / "workflows/WF-FIN-001.json").read_bytes())["steps"][1]
    del step["sequence"]
    assert parse(documented.text) == step


def test_joins_defaults_and_errors_are_bpmns_own() -> None:
    """The hardest constructs would be drawn as something that means another thing."""
    root = exported(HARD)
    assert found(root, "//b:parallelGateway[@id='join_A-07']")
    assert found(root, "count(//b:parallelGateway[@id='split_A-02_if_1']/b:outgoing)") == 3
    (default,) = found(root, "//b:exclusiveGateway[@id='decision_A-02']/@default")
    assert found(root, f"//b:sequenceFlow[@id='{default}']/@targetRef") == ["join_A-07"]
    assert found(root, "//b:boundaryEvent[b:errorEventDefinition]/@attachedToRef") == [
        "step_A-01",
        "step_A-02",
        "step_A-04",
    ]
    (bounded,) = found(root, "//b:sequenceFlow[b:conditionExpression='after 3 visits']")
    assert (bounded.get("sourceRef"), bounded.get("targetRef")) == ("bound_A-06", "step_A-09")
    assert found(root, "//b:sequenceFlow[@sourceRef='bound_A-06' and @targetRef='step_A-06']")
    assert found(root, "//b:association[@sourceRef='compensation_A-04']/@targetRef") == ["step_A-10"]


@pytest.mark.parametrize(
    ("hours", "text"),
    [(72, "PT72H"), (Decimal("0.5"), "PT1800S"), (Decimal("1.00"), "PT1H"), (Decimal("0.001"), "PT3.6S")],
)
def test_a_timeout_is_an_iso_duration(hours: int | Decimal, text: str) -> None:
    """xsd:duration takes a fraction of seconds only."""
    assert duration(hours) == text


@settings(max_examples=300)
@given(st.lists(st.text(alphabet="Ax2F_/:.-", min_size=1, max_size=8), unique=True, min_size=2))
def test_no_two_ids_become_one_name(ids: list[str]) -> None:
    """Two steps would be one element."""
    assert len({xml_name(step_id) for step_id in ids}) == len(ids)


def test_control_characters_do_not_break_the_file() -> None:
    """XML cannot hold U+0001, JSON can."""
    drawn = workflow({"step_id": "A", "parameters": {"text": "a\x01b<&>\ud7ff"}, "next_step_logic": "END"})
    assert "a\ufffdb" in exported(drawn).xpath("string(//*[@id='step_A']/@name)")
    assert "a\ufffdb&lt;&amp;&gt;" in to_svg(graph_of(drawn))


def test_bpmn_js_draws_everything_without_a_warning(tmp_path: Path) -> None:
    """The people who get the export would see a warning, or a part of the process."""
    viewer = installed("bpmn-js") / "dist/bpmn-viewer.production.min.js"
    drawn = [shipped(), HARD, workflow(), workflow({"step_id": "A", "next_step_logic": {"goto": "A"}})]
    given = [to_bpmn(graph_of(item)) for item in drawn]
    answers = evaluated(
        tmp_path,
        [viewer],
        """
        const answers = [];
        for (const xml of given) {
            const viewer = new BpmnJS({container: '#canvas'});
            const {warnings} = await viewer.importXML(xml);
            const registry = viewer.get('elementRegistry');
            const elements = registry.getAll().filter(element => element.parent && !element.labelTarget);
            const isDrawn = element => registry.getGraphics(element).querySelector('.djs-visual *');
            answers.push({warnings: warnings.map(String), ids: elements.filter(isDrawn).map(element => element.id)});
            viewer.destroy();
        }
        return answers;
        """,
        given,
    )
    for xml, answer in zip(given, answers, strict=True):
        root = etree.fromstring(xml.encode())
        process = found(root, "//b:process")[0]
        assert answer["warnings"] == []
        assert sorted(answer["ids"]) == sorted(element.get("id") for element in process if element.get("id"))
