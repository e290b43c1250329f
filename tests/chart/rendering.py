"""What tests of the chart stand on: both Helms, the values files, what a node would make of a pod."""

import functools
import os
import pathlib
import subprocess

import yaml

ROOT = pathlib.Path(__file__).parent.parent.parent
CHART = ROOT / "helm" / "tidemark"
HELMS = {major: ROOT / "target" / "operate" / f"helm{major}" / "helm" for major in (3, 4)}
SCENARIOS = sorted(file.name.removesuffix("-values.yaml") for file in (CHART / "ci").glob("*-values.yaml"))
DISTRICTS = 600


def helm(major, *arguments):
    """Runs one of the Helms, which finds no cluster and keeps nothing of ours."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(ROOT / "target" / "operate" / "home")}
    return subprocess.run(
        [HELMS[major], *map(str, arguments)], capture_output=True, text=True, timeout=60, env=environment
    )


@functools.cache
def rendered_text(scenario, major=4, *more):
    values = CHART / "ci" / f"{scenario}-values.yaml"
    if scenario == "districts":
        more = (*more, "--set-file", rf"config.files.districts\.csv={districts()}")
    done = helm(major, "template", "release", CHART, "--namespace", "tidemark", "--values", values, *more)
    assert done.returncode == 0, done.stderr
    return done.stdout


@functools.cache
def districts():
    """A list of as many districts as a state has."""
    rows = ["id,url,region"]
    for number in range(1, DISTRICTS + 1):
        rows.append(f"d-{number:05},https://ods-{number % 40}.districts.state.example/d-{number:05}/v7.3,region-{number % 20}")
    file = ROOT / "target" / "operate" / "districts.csv"
    file.write_text("\n".join(rows) + "\n")
    return file


def rendered(scenario, major=4, *more):
    return [each for each in yaml.safe_load_all(rendered_text(scenario, major, *more)) if each]


def of_kind(objects, kind):
    return [each for each in objects if each["kind"] == kind]


def only(objects, kind):
    [one] = of_kind(objects, kind)
    return one


def cluster():
    """What exists already."""
    there = yaml.safe_load((pathlib.Path(__file__).parent / "cluster.yaml").read_text())
    credentials = {}
    for number in range(1, DISTRICTS + 1):
        credentials |= {f"d-{number:05}-key": "sentinel-k", f"d-{number:05}-secret": "sentinel-s"}
    there["secrets"]["districts"] = credentials
    return there


class Pod:
    """A pod as a node would prepare it: directories of files, and the container's variables."""

    def __init__(self, objects, cluster, directory):
        self.directory = directory
        config_maps = cluster["configMaps"] | {
            each["metadata"]["name"]: each["data"] for each in of_kind(objects, "ConfigMap") if "data" in each
        }
        spec = only(objects, "StatefulSet")["spec"]["template"]["spec"]
        [container] = [each for each in spec["containers"] if each["name"] == "tidemark"]
        self.container = container
        self.places = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
        sources = {"configMap": config_maps, "secret": cluster["secrets"]}
        for volume in spec["volumes"]:
            for source in volume.get("projected", {}).get("sources", []):
                [(kind, named)] = source.items()
                self._project(self.here(self.places[volume["name"]]), sources[kind], named)
        self.environment = {}
        for source in container.get("envFrom", []):
            self.environment |= cluster["secrets"][source["secretRef"]["name"]]
        for variable in container["env"]:
            self.environment[variable["name"]] = self._value(variable, cluster)

    def here(self, path):
        """Where a path of the pod is on this machine."""
        return self.directory / path.lstrip("/")

    def _project(self, directory, existing, named):
        directory.mkdir(parents=True, exist_ok=True)
        if named["name"] not in existing:
            assert named.get("optional"), f"{named['name']} does not exist, and is not optional"
            return
        files = existing[named["name"]]
        chosen = named.get("items") or [{"key": key, "path": key} for key in files]
        for item in chosen:
            file = directory / item["path"]
            assert not file.exists(), f"{file} comes from two sources"
            file.write_text(self._moved(files[item["key"]]))

    def _value(self, variable, cluster):
        if "value" in variable:
            return self._moved(variable["value"])
        reference = variable["valueFrom"]["secretKeyRef"]
        return cluster["secrets"][reference["name"]][reference["key"]]

    def _moved(self, text):
        for place in self.places.values():
            text = text.replace(place, str(self.here(place)))
        return text

    def run(self, *arguments, program=ROOT / "target" / "debug" / "tidemark"):
        return subprocess.run(
            [program, *arguments],
            cwd=self.here(self.container["workingDir"]),
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
