"""What a judge said of a constitution's cases, for other programs."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from cai.evaluation.cases import CaseReport


def as_json(report: CaseReport) -> dict[str, Any]:
    """Everything as JSON data."""
    return {
        "constitution": report.constitution,
        "judge": report.judge,
        "passed": len(report.results) - len(report.failed),
        "failed": len(report.failed),
        "results": [
            {
                "case": result.name,
                "principle": result.principle,
                "passed": result.passed,
                "p": result.p,
                "least": result.least,
                "reason": result.reason,
                "why": result.why,
                "answered_by": result.answered_by,
            }
            for result in report.results
        ],
        "untested": list(report.untested),
        "left_out": report.left_out,
    }


def as_junit(report: CaseReport) -> str:
    """A JUnit report: one test for each case under each principle."""
    total, failed = str(len(report.results)), str(len(report.failed))
    suite = ElementTree.Element(
        "testsuite", name=report.constitution, tests=total, failures=failed, errors="0"
    )
    for result in report.results:
        test = ElementTree.SubElement(
            suite,
            "testcase",
            classname=f"{report.constitution}.{result.principle}",
            name=result.name,
        )
        if not result.passed:
            ElementTree.SubElement(test, "failure", message=_plain(str(result)))
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _plain(text: str) -> str:
    """Without the control characters that XML cannot hold."""
    return "".join(sign if sign in "\t\n\r" or sign >= " " else "�" for sign in text)
