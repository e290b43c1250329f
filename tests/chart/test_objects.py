"""What is rendered is what Kubernetes and the Prometheus operator take, and as closed as we say."""

import json
import re
import subprocess

import kubernetes_validate
import pytest
import yaml
from cloudcoil.models.prometheus_operator import v1 as operator

from rendering import CHART, ROOT, SCENARIOS, helm, of_kind, only, rendered, rendered_text

OLDEST, NEWEST = "1.28", "1.37"
OPERATOR = {"ServiceMonitor": operator.ServiceMonitor, "PrometheusRule": operator.PrometheusRule}

# What the policy checker finds and we mean, each with the reason.
MEANT = {
    "CKV_K8S_11": "no limit of the processor: throttled, a run only takes longer",
    "CKV_K8S_15": "an image by version or digest does not change, so it is not pulled each time",
    "CKV_K8S_43": "the digest is the installer's to give; locked-down-values.yaml does",
    "CKV_K8S_35": "variables from Secrets are the trial's choice; files are the way that we show",
}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_both_helms_render_the_same(scenario):
    assert rendered(scenario, 3) == rendered(scenario, 4)


@pytest.mark.parametrize("major", [3, 4])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_neither_helm_has_a_doubt(scenario, major):
    done = helm(major, "lint", "--strict", CHART, "--values", CHART / "ci" / f"{scenario}-values.yaml")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning" not in (done.stdout + done.stderr).lower()


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_object_is_one_of_kubernetes(scenario, version):
    objects = rendered(scenario)

    for each in objects:
        if each["kind"] not in OPERATOR:
            kubernetes_validate.validate(each, version, strict=True)
    assert len(objects) >= 3


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_object_of_the_prometheus_operator_is_one(scenario):
    for each in rendered(scenario):
        if each["kind"] in OPERATOR:
            parsed = OPERATOR[each["kind"]].model_validate(each)
            understood = parsed.model_dump(mode="json", by_alias=True, exclude_none=True)
            assert not_in(each, understood) == [], "nobody would look at these"


@pytest.mark.parametrize("bad", ["kind", "field", "monitor"])
def test_what_is_wrong_would_be_noticed(bad):
    """The two checks above can fail."""
    if bad == "monitor":
        each = only(rendered("everything"), "ServiceMonitor")
        each["spec"]["endpoints"][0]["intervall"] = "1s"
        parsed = operator.ServiceMonitor.model_validate(each)
        assert not_in(each, parsed.model_dump(mode="json", by_alias=True, exclude_none=True)) != []
        return
    each = only(rendered("empty"), "StatefulSet")
    if bad == "kind":
        each["spec"]["replicas"] = "one"
    else:
        each["spec"]["template"]["spec"]["restartPolice"] = "Always"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(each, NEWEST, strict=True)


def test_a_policy_checker_finds_nothing_that_we_do_not_mean(tmp_path):
    for scenario in SCENARIOS:
        (tmp_path / f"{scenario}.yaml").write_text(rendered_text(scenario))
    # One that is not right, so that we see it find something.
    wrong = rendered_text("empty").replace("readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false")
    (tmp_path / "wrong.yaml").write_text(wrong)

    found = policies(tmp_path)

    objects = {(each["file_path"], each["resource"]) for each in found["passed_checks"]}
    assert len(objects) >= 3 * len(SCENARIOS)
    findings = {(each["check_id"], each["file_path"], each["check_name"], each["resource"]) for each in found["failed_checks"]}
    unmeant = [finding for finding in findings if finding[0] not in MEANT]
    assert [finding[:2] for finding in unmeant] == [("CKV_K8S_22", "/wrong.yaml")], unmeant
    assert set(MEANT) <= {finding[0] for finding in findings}, "reasons for what is not found any more"


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_container_of_ours_keeps_the_restricted_pod_security_standard(scenario):
    pod = only(rendered(scenario), "StatefulSet")["spec"]["template"]["spec"]

    context = pod["securityContext"]
    assert context["runAsNonRoot"] is True and context["runAsUser"] >= 10000
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False and pod["enableServiceLinks"] is False
    assert not any(pod.get(shared) for shared in ("hostNetwork", "hostPID", "hostIPC"))
    allowed = {"configMap", "emptyDir", "persistentVolumeClaim", "projected", "secret"}
    assert all(set(volume) - {"name"} <= allowed for volume in pod["volumes"])
    for container in pod.get("initContainers", []) + pod["containers"]:
        own = container["securityContext"]
        assert own["allowPrivilegeEscalation"] is False
        assert own["capabilities"] == {"drop": ["ALL"]}
        assert own["readOnlyRootFilesystem"] is True
    [ours] = [each for each in pod["containers"] if each["name"] == "tidemark"]
    writable = [each["mountPath"] for each in ours["volumeMounts"] if not each.get("readOnly")]
    assert [path for path in writable if path != "/scratch"] == ["/var/lib/tidemark"]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_directories_are_mounted_whole_so_that_changes_arrive(scenario):
    pod = only(rendered(scenario), "StatefulSet")["spec"]["template"]["spec"]

    assert "subPath" not in json.dumps(pod)
    [config] = [volume for volume in pod["volumes"] if volume["name"] == "config"]
    assert config["projected"]["sources"]


def test_the_probes_ask_for_what_never_depends_on_another_api():
    pod = only(rendered("empty"), "StatefulSet")["spec"]["template"]["spec"]
    [container] = pod["containers"]

    paths = {kind: container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")}
    assert paths == {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}
    startup = container["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 60


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_probes_scrapes_and_policies_meet_at_the_port_that_the_daemon_listens_on(scenario):
    objects = rendered(scenario)
    pod = only(objects, "StatefulSet")["spec"]["template"]["spec"]
    [container] = [each for each in pod["containers"] if each["name"] == "tidemark"]
    variables = {each["name"]: each.get("value") for each in container["env"]}
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    apart = "TIDEMARK__SERVER__METRICS_LISTEN" in variables

    listens = variables["TIDEMARK__SERVER__METRICS_LISTEN" if apart else "TIDEMARK__SERVER__LISTEN"]
    name = "metrics" if apart else "http"
    assert listens.rsplit(":", 1)[1] == str(ports[name])
    assert {container[f"{kind}Probe"]["httpGet"]["port"] for kind in ("startup", "liveness", "readiness")} == {name}
    served = {each["name"]: each["targetPort"] for each in only(objects, "Service")["spec"]["ports"]}
    assert served == {each: each for each in ports}
    for monitor in of_kind(objects, "ServiceMonitor"):
        assert [each["port"] for each in monitor["spec"]["endpoints"]] == [name]
    for policy in of_kind(objects, "NetworkPolicy"):
        assert {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]} <= set(ports)
    assert apart == (scenario in ("everything", "locked-down"))


def test_who_scrapes_reaches_nothing_but_the_metrics():
    [console, metrics] = only(rendered("locked-down"), "NetworkPolicy")["spec"]["ingress"]

    assert [console["ports"][0]["port"], metrics["ports"][0]["port"]] == ["http", "metrics"]
    assert "operations" in json.dumps(console["from"]) and "monitoring" in json.dumps(metrics["from"])
    none = only(rendered("locked-down", 4, "--set", "networkPolicy.ingressFrom=null,networkPolicy.metricsFrom=null"), "NetworkPolicy")
    assert none["spec"]["ingress"] == []


def test_under_tls_the_probes_do_not_speak_it():
    """The chart cannot read texts, so the values file that ends TLS in the pod is held to it."""
    for scenario in SCENARIOS:
        texts = "".join(text for each in of_kind(rendered(scenario), "ConfigMap") for text in each.get("data", {}).values())
        if re.search(r"^server:\n  tls:", texts, re.M):
            pod = only(rendered(scenario), "StatefulSet")["spec"]["template"]["spec"]
            assert pod["containers"][0]["readinessProbe"]["httpGet"]["port"] == "metrics"
            return
    raise AssertionError("no values file ends TLS in the pod")


def test_there_is_one_pod_with_a_claim_that_stays():
    spec = only(rendered("empty"), "StatefulSet")["spec"]

    assert spec["replicas"] == 1
    [claim] = spec["volumeClaimTemplates"]
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    assert "volumeClaimTemplates" not in only(rendered("trial"), "StatefulSet")["spec"]
    existing = only(rendered("existing"), "StatefulSet")["spec"]
    assert {"name": "state", "persistentVolumeClaim": {"claimName": "tidemark-state"}} in existing["template"]["spec"]["volumes"]


def test_what_watches_and_guards_is_off_until_asked_for():
    kinds = {each["kind"] for each in rendered("empty")}
    everything = {each["kind"] for each in rendered("everything")}

    assert kinds == {"ConfigMap", "Service", "ServiceAccount", "StatefulSet"}
    assert everything == kinds | {
        "Ingress", "NetworkPolicy", "PodDisruptionBudget", "PrometheusRule", "ServiceMonitor",
    }


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_what_selects_pods_never_changes_and_selects_them(scenario):
    objects = rendered(scenario)
    name = "tide" if scenario == "everything" else "tidemark"
    selected = {"app.kubernetes.io/name": name, "app.kubernetes.io/instance": "release"}
    workload = only(objects, "StatefulSet")["spec"]

    assert workload["selector"]["matchLabels"] == selected
    assert selected.items() <= workload["template"]["metadata"]["labels"].items()
    assert only(objects, "Service")["spec"]["selector"] == selected
    for kind, path in (("NetworkPolicy", "podSelector"), ("PodDisruptionBudget", "selector"), ("ServiceMonitor", "selector")):
        for each in of_kind(objects, kind):
            assert each["spec"][path]["matchLabels"] == selected
    service = only(objects, "Service")["metadata"]["labels"]
    assert selected.items() <= service.items(), "the ServiceMonitor looks for it by these"


def test_labels_and_annotations_for_everything_are_on_everything():
    for each in rendered("everything"):
        if each["metadata"]["name"] in ("the-tide-note", "as-a-text"):
            continue
        assert each["metadata"]["labels"]["team"] == "data", each["kind"]
        assert each["metadata"]["annotations"]["contact"] == "oncall", each["kind"]
    pod = only(rendered("everything"), "StatefulSet")["spec"]["template"]["metadata"]
    assert pod["labels"]["team"] == "data" and pod["labels"]["k"] == "l"


def test_extra_objects_are_filled_in():
    named = {each["metadata"]["name"]: each for each in of_kind(rendered("everything"), "ConfigMap")}

    assert named["the-tide-note"]["data"] == {"of": "release"}
    assert named["as-a-text"]["metadata"]["namespace"] == "tidemark"


def test_the_rules_and_dashboards_are_those_that_are_tested():
    files = CHART / "files"
    rules = yaml.safe_load((files / "rules.yaml").read_text())["groups"]
    objects = rendered("districts")

    assert only(objects, "PrometheusRule")["spec"]["groups"] == rules
    boards = [each for each in of_kind(objects, "ConfigMap") if each["metadata"]["labels"].get("grafana_dashboard") == "1"]
    assert {name: text for each in boards for name, text in each["data"].items()} == {
        f"tidemark-{file.name}": file.read_text() for file in (files / "dashboards").glob("*.json")
    }


def test_an_alert_can_be_left_out_and_knows_its_runbook():
    groups = only(rendered("everything"), "PrometheusRule")["spec"]["groups"]
    alerts = {rule["alert"]: rule for group in groups for rule in group["rules"] if "alert" in rule}

    assert [group["name"] for group in groups] == ["tidemark.figures", "tidemark.alerts", "ours"]
    assert "TidemarkThrottled" not in alerts and "TidemarkPairBlocked" in alerts
    for name, alert in alerts.items():
        assert alert["annotations"]["runbook_url"] == f"https://pages.example/operations#{name.lower()}"


def test_the_pod_and_the_image_agree():
    image = (ROOT / "Dockerfile").read_text()
    settings = dict(re.findall(r"(TIDEMARK\w+)=(\S+)", image))
    pod = only(rendered("empty"), "StatefulSet")["spec"]["template"]["spec"]
    [container] = pod["containers"]

    for variable in container["env"]:
        assert settings[variable["name"]] == variable["value"]
    user = pod["securityContext"]
    assert f"USER {user['runAsUser']}:{user['runAsGroup']}\n" in image
    assert f"EXPOSE {container['ports'][0]['containerPort']}\n" in image
    assert f"WORKDIR {container['workingDir']}\n" in image
    assert container["args"][0] == "serve" and "command" not in container


def policies(directory):
    checkov = ROOT / "target" / "operate" / "bin" / "checkov"
    done = subprocess.run(
        [checkov, "--framework", "kubernetes", "--directory", directory, "--compact", "--output", "json", "--skip-download"],
        capture_output=True, text=True, timeout=120,
    )
    answer = json.loads(done.stdout)
    assert answer["summary"]["parsing_errors"] == 0
    return answer["results"]


def not_in(given, understood, path=""):
    """The paths of what was given that is not understood."""
    if isinstance(given, dict):
        if not isinstance(understood, dict):
            return [path]
        return [lost for key, value in given.items() for lost in not_in(value, understood.get(key), f"{path}.{key}")]
    if isinstance(given, list):
        if not isinstance(understood, list) or len(understood) != len(given):
            return [path]
        return [lost for at, value in enumerate(given) for lost in not_in(value, understood[at], f"{path}[{at}]")]
    return [] if understood is not None else [path]
