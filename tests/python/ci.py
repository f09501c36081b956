"""Reads what closestorm wrote for CI services with the readers' own parsers and schemas; prints what they found as one JSON object.

    ci.py FOLDER SCHEMAS    FOLDER has junit.xml, metrics.prom, bmf.json, *-is-better.json and report.md, SCHEMAS has junit-10.xsd and bmf.json
"""

import json
import math
import sys
from pathlib import Path

import jsonschema
import junitparser
from lxml import etree
from markdown_it import MarkdownIt
from prometheus_client.openmetrics.parser import text_string_to_metric_families


def junit(path, schema):
    tree = etree.parse(str(path))
    # GitLab and the actions of GitHub read these two; the plugin "xunit" of Jenkins has no place for them, its step "junit" passes them over.
    for case in tree.iter("testcase"):
        for name in ("file", "line"):
            case.attrib.pop(name, None)
    etree.XMLSchema(etree.parse(str(schema))).assertValid(tree)
    cases = []
    suites = junitparser.JUnitXml.fromfile(str(path))
    for suite in suites:
        for case in suite:
            results = [type(result).__name__.lower() for result in case.result]
            cases.append({
                "suite": suite.name, "class": case.classname, "name": case.name, "time": case.time,
                "result": results[0] if results else "passed",
                "message": case.result[0].message if case.result else None,
                "text": case.result[0].text if case.result else None,
                "file": case._elem.get("file"), "line": case._elem.get("line"),
            })
    counted = [sum(getattr(suite, count) for suite in suites) for count in ("tests", "failures", "errors", "skipped")]
    suites.update_statistics()
    assert counted == [suites.tests, suites.failures, suites.errors, suites.skipped], counted
    return cases


def metrics(path):
    found = []
    for family in text_string_to_metric_families(path.read_text()):
        assert family.type == "gauge" and family.documentation, family
        for sample in family.samples:
            value = None if math.isnan(sample.value) else sample.value
            found.append({"name": sample.name, "labels": sample.labels, "value": value, "unit": family.unit})
    return found


def bmf(path, schema):
    read = json.loads(path.read_text())
    jsonschema.validate(read, json.loads(schema.read_text()))
    return read


def benchmarks(path):
    """As github-action-benchmark documents what `customSmallerIsBetter` and `customBiggerIsBetter` read."""
    read = json.loads(path.read_text())
    for entry in read:
        assert set(entry) <= {"name", "unit", "value", "range", "extra"}, entry
        assert all(isinstance(entry[name], str) and entry[name] for name in ("name", "unit")), entry
        assert type(entry["value"]) in (int, float) and math.isfinite(entry["value"]) and entry["value"] > 0, entry
        assert all(isinstance(entry.get(name, ""), str) for name in ("range", "extra")), entry
    assert len({entry["name"] for entry in read}) == len(read), read
    return read


def markdown(path):
    """What a reader of GitHub's Markdown sees, and whether anything in it is markup of somebody else."""
    tokens = [token for block in MarkdownIt("gfm-like", {"html": True, "linkify": False}).parse(path.read_text()) for token in [block, *(block.children or [])]]
    html = [token.content for token in tokens if token.type.startswith("html") and token.content.strip() != "<!-- -->"]
    links = [token.type for token in tokens if token.type in ("link_open", "image")]
    return {"html": html, "links": links, "tables": sum(token.type == "table_open" for token in tokens)}


folder, schemas = map(Path, sys.argv[1:])
print(json.dumps({
    "junit": junit(folder / "junit.xml", schemas / "junit-10.xsd"),
    "metrics": metrics(folder / "metrics.prom"),
    "smaller": benchmarks(folder / "smaller-is-better.json"),
    "bigger": benchmarks(folder / "bigger-is-better.json"),
    "bmf": bmf(folder / "bmf.json", schemas / "bmf.json"),
    "markdown": markdown(folder / "report.md"),
}))
