"""The configuration that a pod finds is one that the program takes."""

import json
import re
import subprocess

import pytest
import yaml

from rendering import CHART, DISTRICTS, ROOT, SCENARIOS, Pod, helm, of_kind, only, rendered

# Keys that the values files use and the program refuses with these words, because a version with
# them is being made. When one works, the test says so: take it out of this set.
NOT_YET = {"limits", "templates", "secrets_dir", "limit"}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_program_takes_the_configuration_of_the_pod(scenario, cluster, tmp_path):
    pod = Pod(rendered(scenario), cluster, tmp_path)

    checked = pod.run("config", "check")

    if NOT_YET and "not in this version" in checked.stderr:
        assert [line for line in mistakes(checked.stderr) if not is_of_what_is_not_yet(line)] == []
        return
    assert checked.returncode == 0, checked.stderr
    expected = {"districts": DISTRICTS, "empty": 0, "everything": 2}.get(scenario, 1)
    assert f"{expected} pair" in checked.stdout


def test_what_was_waited_for_is_still_waited_for(tmp_path):
    """Ends the waiting: see NOT_YET."""
    for key, text in {
        "limits": "limits: {a: {max_concurrency: 1}}",
        "templates": "templates: {a: {for_each: [{id: x}]}}",
        "secrets_dir": "state: {secrets_dir: /x}",
        "limit": "connections: {a: {kind: ed-fi, url: 'https://a.example', key: a, secret: b, limit: c}}",
    }.items():
        file = tmp_path / f"{key}.yaml"
        file.write_text(text)
        said = config_check(file)
        refused = f"{key}: not in this version" in said
        assert refused == (key in NOT_YET), f"NOT_YET does not fit the program any more: {key}\n{said}"


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


def mistakes(said):
    lines = [line.strip().removeprefix("error: ") for line in said.splitlines()]
    return [line for line in lines if line and not line.startswith("warning") and not line.endswith("mistakes in the configuration")]


def is_of_what_is_not_yet(line):
    """Also that credentials are missing, which `secrets_dir` would bring."""
    if ": not in this version" in line:
        return bool(NOT_YET & set(line.split(": not in this version")[0].split(": ")[-1].split(".")))
    return "secrets_dir" in NOT_YET and re.search(r"connections\.\w+\.(key|secret): missing", line) is not None


def config_check(file):
    done = subprocess.run(
        [ROOT / "target" / "debug" / "tidemark", "--config", file, "config", "check"],
        capture_output=True, text=True, timeout=60, env={},
    )
    return done.stderr
