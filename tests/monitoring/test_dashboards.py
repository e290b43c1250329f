"""The dashboards are made from their code, and can be read."""

import json
import re
import subprocess
import sys

import pytest

from programs import CHART, ROOT
from test_rules import NOT_OURS, asked, rules

BOARDS = {name: json.loads((CHART / "files" / "dashboards" / f"{name}.json").read_text()) for name in ("fleet", "pair")}


def panels(board):
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def test_what_is_installed_is_made_from_the_code(tmp_path):
    subprocess.run([sys.executable, ROOT / "monitoring" / "dashboards.py", tmp_path], check=True, timeout=60)

    for name in BOARDS:
        installed = (CHART / "files" / "dashboards" / f"{name}.json").read_text()
        assert (tmp_path / f"{name}.json").read_text() == installed, "run `make dashboards`"


@pytest.mark.parametrize("name", BOARDS)
def test_every_panel_has_a_place_a_unit_and_a_sentence_that_helps(name):
    board = BOARDS[name]
    taken = set()

    assert board["uid"] == f"tidemark-{name}" and "id" not in board and board["tags"] == ["tidemark"]
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    for panel in panels(board):
        title = panel["title"]
        assert len(panel["description"]) > 10, title
        assert panel["type"] in ("table", "state-timeline") or panel["fieldConfig"]["defaults"].get("unit"), title
        assert panel["datasource"]["uid"] == "${datasource}", title
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]) > 0, title
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert max(x for x, _ in cells) < 24 and not cells & taken, title
        taken |= cells


@pytest.mark.parametrize("name", BOARDS)
def test_panels_ask_for_metrics_that_exist_and_keep_installations_apart(name):
    declared = set(re.findall(r"^\| `(tidemark_\w+)`", (ROOT / "docs" / "metrics.md").read_text(), re.M))
    known = declared | NOT_OURS | {rule["record"] for rule in rules() if "record" in rule}

    for panel in panels(BOARDS[name]):
        for target in panel["targets"]:
            for metric in asked(target["expr"]):
                assert metric in known or metric.startswith("process_"), f"{metric} in {panel['title']}"
            assert 'namespace=~"$namespace"' in target["expr"], panel["title"]


def test_every_metric_is_on_a_dashboard_or_in_a_rule():
    declared = set(re.findall(r"^\| `(tidemark_\w+)`", (ROOT / "docs" / "metrics.md").read_text(), re.M))
    used = {name for rule in rules() for name in asked(rule["expr"])}
    for board in BOARDS.values():
        used |= {name for panel in panels(board) for target in panel["targets"] for name in asked(target["expr"])}

    # How much runs took up is there for those who count themselves.
    assert declared - used == {"tidemark_changes_read_total"}
