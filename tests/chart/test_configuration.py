"""The configuration that a pod finds is one that the program takes."""

import json

import pytest
import yaml

from rendering import CHART, DISTRICTS, ROOT, SCENARIOS, Pod, helm, of_kind, only, rendered


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_program_takes_the_configuration_of_the_pod(scenario, cluster, tmp_path):
    pod = Pod(rendered(scenario), cluster, tmp_path)

    checked = pod.run("config", "check")

    assert checked.returncode == 0, checked.stderr
    expected = {"districts": DISTRICTS, "empty": 0, "everything": 2}.get(scenario, 1)
    assert f"{expected} pair" in checked.stdout


def test_a_text_arrives_in_the_pod_as_it_was_written(cluster, tmp_path):
    text = "connections: {}\n#  00123 1e5 no 0x10 {{ not a template }}\n\n  # indented\n"
    (tmp_path / "values").write_text(yaml.safe_dump({"config": {"files": {"tidemark.yaml": text}}}))
    (tmp_path / "first-line").write_text("  begins with blanks\nand: goes on")

    for major in (3, 4):
        more = ("--values", tmp_path / "values", "--set-file", f"config.files.other={tmp_path / 'first-line'}")
        objects = rendered("empty", major, *more)

        data = only(objects, "ConfigMap")["data"]
        assert data == {"tidemark.yaml": text, "other": "  begins with blanks\nand: goes on"}


def test_a_change_of_the_configuration_changes_nothing_but_the_config_map():
    changed = ("--set-string", r"config.files.tidemark\.yaml=connections: {}")
    before, after = rendered("district"), rendered("district", 4, *changed)

    assert only(before, "ConfigMap") != only(after, "ConfigMap")
    rest = [[each for each in objects if each["kind"] != "ConfigMap"] for objects in (before, after)]
    assert rest[0] == rest[1], "the pod would be replaced"
    assert "checksum" not in json.dumps(rest[0])


def test_six_hundred_districts_fit_into_objects_of_a_mebibyte():
    objects = rendered("districts")

    lines = only([each for each in objects if "districts.csv" in each.get("data", {})], "ConfigMap")
    assert len(lines["data"]["districts.csv"].splitlines()) == DISTRICTS + 1
    sizes = {each["metadata"]["name"]: len(json.dumps(each)) for each in objects}
    assert max(sizes.values()) < 1 << 20, sizes
    assert len(of_kind(objects, "StatefulSet")) == 1


def test_a_configuration_that_no_config_map_holds_is_refused_with_the_way_out(tmp_path):
    (tmp_path / "large.csv").write_text("x" * 1_000_001)

    for major in (3, 4):
        done = helm(major, "template", "release", CHART, "--set-file", f"config.files.large={tmp_path / 'large.csv'}")

        assert done.returncode != 0
        assert "a ConfigMap holds 1 MiB" in done.stderr and "config.existing" in done.stderr


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_no_secret_is_in_what_is_rendered(scenario, cluster):
    text = json.dumps(rendered(scenario))

    assert of_kind(rendered(scenario), "Secret") == []
    assert "sentinel" not in text
