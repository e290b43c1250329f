"""The rules are right, each alert can fire and is explained, and none does when all is well."""

import re
import subprocess

import pytest
import yaml

from programs import CHART, PROMETHEUS, ROOT

RULES = CHART / "files" / "rules.yaml"
HERE = ROOT / "tests" / "monitoring"
# Of the client library, and of Prometheus itself.
NOT_OURS = {"process_start_time_seconds"}


def rules():
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}


def promtool(*arguments):
    done = subprocess.run([PROMETHEUS / "promtool", *map(str, arguments)], capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout + done.stderr


def test_the_rules_are_rules():
    code, said = promtool("check", "rules", "--lint-fatal", RULES)

    assert code == 0, said
    assert f"{len(rules())} rules found" in said


@pytest.fixture
def tested(tmp_path):
    """The rules without their annotations, which a test would have to repeat word for word."""
    groups = yaml.safe_load(RULES.read_text())
    for group in groups["groups"]:
        for rule in group["rules"]:
            rule.pop("annotations", None)
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(groups))
    return tmp_path


def test_every_alert_fires(tested):
    cases = (HERE / "alerts_fire.yaml").read_text()
    (tested / "fire.yaml").write_text(cases)

    code, said = promtool("test", "rules", tested / "fire.yaml")

    assert code == 0, said
    fired = {case["alertname"] for test in yaml.safe_load(cases)["tests"] for case in test["alert_rule_test"] if case["exp_alerts"]}
    assert fired == set(ALERTS), "an alert that is not seen to fire does not exist"


def test_no_alert_fires_when_all_is_well(tested):
    cases = yaml.safe_load((HERE / "alerts_quiet.yaml").read_text())
    cases["tests"][0]["alert_rule_test"] = [
        {"eval_time": moment, "alertname": alert, "exp_alerts": []} for alert in ALERTS for moment in ("1h", "1h45m", "4h")
    ]
    (tested / "quiet.yaml").write_text(yaml.safe_dump(cases))

    code, said = promtool("test", "rules", tested / "quiet.yaml")

    assert code == 0, said


@pytest.mark.parametrize("file", ["alerts_fire.yaml", "alerts_quiet.yaml"])
def test_no_series_begins_with_a_number_that_is_read_as_another(file):
    assert re.findall(r"values:.*[ ]0x", (HERE / file).read_text()) == []


@pytest.mark.parametrize("alert", sorted(ALERTS))
def test_an_alert_says_how_bad_what_and_what_to_do(alert):
    rule = ALERTS[alert]
    page = (ROOT / "docs" / "operations.md").read_text()

    assert alert.startswith("Tidemark")
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert "{{" not in rule["annotations"]["summary"] and rule["annotations"]["summary"].endswith(".")
    assert rule["annotations"]["description"]
    section = re.search(rf"^### {alert}\n(.*?)(?=^##|\Z)", page, re.M | re.S)
    assert section, f"docs/operations.md has no section {alert}"
    for heading in ("**Meaning**", "**Find out**", "**Mend**"):
        assert heading in section[1], f"{alert} has no {heading}"


def test_every_section_about_an_alert_is_about_one_that_exists():
    page = (ROOT / "docs" / "operations.md").read_text()

    assert set(re.findall(r"^### (Tidemark\w+)$", page, re.M)) == set(ALERTS)


def test_rules_ask_for_metrics_that_exist():
    declared = set(re.findall(r"^\| `(tidemark_\w+)` \| (\w+)", (ROOT / "docs" / "metrics.md").read_text(), re.M))
    names = {name for name, _ in declared}
    recorded = {rule["record"] for rule in rules() if "record" in rule}

    for rule in rules():
        for name in asked(rule["expr"]):
            assert name in names | recorded | NOT_OURS, f"{name} of {rule.get('alert', rule.get('record'))}"


def asked(expr):
    """The names of metrics in an expression."""
    without_labels = re.sub(r"\{[^}]*\}|\"[^\"]*\"", "", expr)
    words = re.findall(r"(?<![\w:])[a-z_]+:[\w:]+|(?<![\w:])(?:tidemark|process)_\w+", without_labels)
    return {re.sub(r"_(bucket|sum|count)$", "", word) for word in words}
