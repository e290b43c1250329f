"""Values that cannot work are refused at installation, and every value is explained."""

import json
import os
import pathlib
import re
import subprocess
import sys

import jsonschema
import pytest
import yaml

from rendering import CHART, HELMS, ROOT, helm

SCHEMA = json.loads((CHART / "values.schema.json").read_text())
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())


@pytest.mark.parametrize("major", [3, 4])
@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ("replicas=2", "replicas"),
        ("replica=1", "replica"),
        ("image.tagg=1", "tagg"),
        ("state.persistence.accessModes={ReadWriteMany}", "accessModes"),
        ("state.persistence.size=much", "size"),
        ("log.level=verbose", "level"),
        ("service.port=0", "port"),
        ("metricsListener.port=8642", "port"),
        ("extraEnv[0].name=TIDEMARK__SERVER__METRICS_LISTEN,extraEnv[0].value=x", "extraEnv"),
        ("secrets.existing={credentials}", "existing"),
        ("config.existing[0].nam=x", "existing"),
        ("image.digest=sha256:1234", "digest"),
        ("extraEnv[0].name=TIDEMARK_CONFIG,extraEnv[0].value=x", "extraEnv"),
        ("monitoring.serviceMonitor.enabled=maybe", "enabled"),
        ("probes.liveness.path=/x", "liveness"),
    ],
)
def test_what_cannot_work_is_refused_by_name(wrong, named, major):
    done = helm(major, "template", "release", CHART, "--set", wrong)

    assert done.returncode != 0
    assert "specifications of the schema" in done.stderr and named in done.stderr


def test_the_schema_is_a_strict_one_of_draft_7_and_knows_every_value():
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    jsonschema.validate(VALUES, SCHEMA)

    assert SCHEMA["$schema"] == "http://json-schema.org/draft-07/schema#"
    unlike = list(differences(VALUES, SCHEMA, ""))
    assert unlike == [], "values.yaml and values.schema.json"


def test_every_value_is_explained_and_the_table_is_made_from_values_yaml():
    explained = set(re.findall(r"^\| `([^`]+)` \|", (CHART / "README.md").read_text(), re.M))

    assert [path for path in leaves(VALUES) if not any(is_of(path, each) for each in explained)] == []
    check = subprocess.run([sys.executable, ROOT / "tools" / "chart-readme.py", "--check"], capture_output=True, text=True)
    assert check.returncode == 0, check.stderr


def test_the_example_of_the_readme_is_one_that_is_tried():
    example = re.search(r"```yaml\n(.*?)```", (CHART / "README.md").read_text(), re.S)[1]

    assert yaml.safe_load(example) == yaml.safe_load((CHART / "ci" / "district-values.yaml").read_text())


def test_there_are_at_least_six_values_files_and_the_package_does_without_them(tmp_path):
    assert len(list((CHART / "ci").glob("*-values.yaml"))) >= 6

    for major in (3, 4):
        done = helm(major, "package", CHART, "--destination", tmp_path / str(major))
        assert done.returncode == 0, done.stderr
        [package] = pathlib.Path(tmp_path / str(major)).glob("*.tgz")
        members = subprocess.run(["tar", "-tzf", package], capture_output=True, text=True).stdout.split()
        assert "tidemark/values.schema.json" in members and "tidemark/files/rules.yaml" in members
        assert not any("/ci/" in member for member in members)


def test_the_chart_and_the_program_have_one_version():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    cargo = re.search(r'^version = "(.*)"$', (ROOT / "Cargo.toml").read_text(), re.M)[1]

    assert chart["appVersion"] == cargo


@pytest.mark.parametrize(
    ("values", "said", "not_said"),
    [
        ("empty", "NOTHING IS CONFIGURED YET", "/tidemark check"),
        ("district", "exec release-tidemark-0 -- /tidemark check", "WARNING"),
        ("trial", "WARNING: there is no claim for the state", "NOTHING"),
        ("everything", "WARNING: with one replica", "most select by a label"),
    ],
)
def test_the_notes_say_the_next_command(values, said, not_said):
    # Helm 3 asks a cluster before it shows them.
    file = CHART / "ci" / f"{values}-values.yaml"
    done = helm(4, "install", "release", CHART, "--namespace", "tidemark", "--dry-run=client", "--values", file)

    assert done.returncode == 0, done.stderr
    notes = done.stdout.split("NOTES:")[1]
    assert said in notes and not_said not in notes


def differences(values, schema, path):
    """Where one knows a value that the other does not. Mappings that are the user's are not walked into."""
    properties = schema.get("properties")
    if properties is None:
        return
    assert schema.get("additionalProperties") is False, f"{path or '.'} takes anything"
    if path.startswith(".probes."):
        return
    known = set(properties) - {"global"}
    yield from (f"{path}.{key}" for key in set(values) ^ known)
    for key in set(values) & known:
        if isinstance(values[key], dict):
            yield from differences(values[key], properties[key], f"{path}.{key}")


def leaves(values, path=""):
    for key, value in values.items():
        below = f"{path}.{key}" if path else key
        if isinstance(value, dict) and value:
            yield from leaves(value, below)
        else:
            yield below


def is_of(path, explained):
    return path == explained or path.startswith(f"{explained}.")


def test_the_commands_of_the_readme_are_typed_as_they_are(tmp_path):
    """A newcomer's way into a cluster, up to where a cluster is needed."""
    readme = (CHART / "README.md").read_text()
    lines = [line for block in re.findall(r"```sh\n(.*?)```", readme, re.S) for line in block.splitlines()]
    helms = [line for line in lines if line.startswith("helm ")]
    (tmp_path / "my-values.yaml").write_text(re.search(r"```yaml\n(.*?)```", readme, re.S)[1])
    (tmp_path / "helm").symlink_to(CHART.parent)

    look, install = helms
    assert look.startswith("helm template ") and install == look.replace(" template ", " install ")
    assert all(line.startswith("kubectl ") for line in lines if line not in helms)
    for major in (3, 4):
        environment = {"PATH": f"{HELMS[major].parent}:{os.environ['PATH']}", "HOME": str(tmp_path)}
        done = subprocess.run(["sh", "-euc", look], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert "kind: StatefulSet" in done.stdout and "https://api.district.example/7.3" in done.stdout
