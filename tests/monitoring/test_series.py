"""Rules and dashboard name what a real kes shows, and each rule is tested. After the faults: some series begin with them."""

import json
import re
import subprocess
from pathlib import Path

import yaml
from stack import eventually
from test_alerts import FAULTS
from watched import MONITORING, rules

HERE = Path(__file__).parent
PAGES = HERE.parents[1] / "docs"
NAME = re.compile(r"\bkes_[a-z0-9_]+")


def alerts():
    return [rule["alert"] for rule in rules()["groups"][0]["rules"]]


def dashboard():
    panels = json.loads((MONITORING / "kes-dashboard.json").read_text())["panels"]
    return {(panel["title"], target["expr"]) for panel in panels for target in panel.get("targets", [])}


def filled(expression):
    return expression.replace("$__rate_interval", "15m").replace("$instance", ".*")


def test_the_rules_do_as_their_tests_say():
    for file in ("rules.yaml", "ends.yaml"):
        subprocess.run(["promtool", "test", "rules", HERE / file], check=True, timeout=60)


def test_each_alert_has_a_case_a_fault_and_a_section():
    cases = [test["name"] for file in ("rules.yaml", "ends.yaml") for test in yaml.safe_load((HERE / file).read_text())["tests"]]
    fired = {alert for _, of in FAULTS.values() for alert, _ in of}
    page = (PAGES / "alerts.md").read_text()
    for rule in rules()["groups"][0]["rules"]:
        name = rule["alert"]
        assert any(re.search(rf"\b{name}\b", case) for case in cases), f"{name}: no case of promtool"
        assert name in fired, f"{name}: no fault"
        assert f"\n## {name}\n" in page, f"{name}: no section in docs/alerts.md"
        assert rule["annotations"]["runbook_url"].endswith(f"/docs/alerts.md#{name.lower()}"), name
    assert sorted(re.findall(r"^## (Kes\w+)$", page, re.M)) == sorted(alerts())


def test_every_series_exists(everything):
    *_, prometheus = everything
    there = {one["metric"]["__name__"] for one in prometheus.query('last_over_time({job="kes"}[30m])')}
    expressions = [rule["expr"] for rule in rules()["groups"][0]["rules"]] + [expr for _, expr in dashboard()]
    named = {name for expression in expressions for name in NAME.findall(expression)}
    table = (PAGES / "kes-protocol.md").read_text().partition("## 7. Metrics")[2].partition("* The three request counters")[0]
    of_minio = set(NAME.findall(table))
    assert len(of_minio) >= 14, of_minio
    for name in named | of_minio:
        assert there & {name, f"{name}_count"}, f"no server shows {name}"
    shown = {name for _, expr in dashboard() for name in NAME.findall(expr)}
    assert not {name for name in of_minio if not any(one.startswith(name) for one in shown)}, "not on the dashboard"


def test_no_panel_is_empty(everything):
    *_, prometheus = everything
    for title, expression in sorted(dashboard()):
        eventually(f"'{title}' shows {expression}", lambda: prometheus.has(filled(expression)), 10)
