"""A real Prometheus scrapes a real daemon, started from what the chart renders, that publishes between
two sandboxes: every panel shows something, and alerts become true and clear again."""

import contextlib
import http.client
import http.server
import json
import re
import socket
import ssl
import subprocess
import threading
import time
import urllib.request

import pytest
import yaml

import rendering
from programs import PROMETHEUS, TIDEMARK, free_port, get, is_up, running, until
from test_dashboards import BOARDS, panels
from test_rules import ALERTS

VALUES = """
config:
  files:
    tidemark.yaml: |
      state: {{backup: {{every: 5s, keep: 2}}}}
      connections:
        district: {{kind: ed-fi, url: "{source}", key: {{env: SANDBOX_KEY}}, secret: {{env: SANDBOX_SECRET}}}}
        state: {{kind: ed-fi, timeout: 3s, url: "{target}", tls: {{authorities: "{authorities}"}}, key: {{env: SANDBOX_KEY}}, secret: {{env: SANDBOX_SECRET}}}}
        nobody: {{kind: ed-fi, url: "http://127.0.0.1:9", key: {{env: SANDBOX_KEY}}, secret: {{env: SANDBOX_SECRET}}}}
      defaults:
        publication: {{source: district, isolation: bounded, first_overlap_versions: all, overlap: 0s}}
      publications:
        district-to-state: {{targets: [state], every: 1s, resources: {{include: [schools]}}}}
        nightly: {{targets: [state], schedule: "0 0 {far} * * *", resources: {{include: [grades]}}}}
        by-hand: {{targets: [state], resources: {{include: [grades]}}}}
        district-to-nobody: {{targets: [nobody], every: 1s, resources: {{include: [schools]}}}}
extraEnv:
  - {{name: SANDBOX_KEY, value: sandbox-key}}
  - {{name: SANDBOX_SECRET, value: sandbox-secret}}
monitoring:
  prometheusRule: {{enabled: true}}
"""


# Nobody is there: whoever asked them would publish nothing.
PROXIES = {name: "http://127.0.0.1:9" for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")}


class Gate(http.server.ThreadingHTTPServer):
    """Stands before the target, under TLS: passes on, and now and then is throttled, cut off, or down."""

    daemon_threads = True
    # One that is up or down, and nothing between.
    refuses_nothing = False

    def __init__(self, behind, certificate, key):
        self.behind = behind
        self.count = 0
        self.down = False
        super().__init__(("127.0.0.1", 0), Passing)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        # Each client is agreed with on its own thread.
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"https://127.0.0.1:{self.server_port}"


class Passing(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def pass_on(self):
        gate = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        gate.count += 1
        if gate.down:
            return self.answer(503, b"{}")
        if gate.refuses_nothing:
            return self.from_behind(body)
        if gate.count % 40 == 0:
            return self.answer(429, b"{}", {"Retry-After": "1"})
        if gate.count % 41 == 0:
            self.close_connection = True
            return self.connection.shutdown(socket.SHUT_RDWR)
        if self.command == "POST" and self.path.endswith("/schools"):
            problem = {"type": "urn:ed-fi:api:bad-request:data-validation-failed", "status": 400, "detail": "no", "title": "no"}
            return self.answer(400, json.dumps(problem).encode(), {"Content-Type": "application/problem+json"})
        self.from_behind(body)

    def from_behind(self, body):
        gate = self.server
        upstream = http.client.HTTPConnection(gate.behind, timeout=30)
        with contextlib.closing(upstream):
            upstream.request(self.command, self.path, body, {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")})
            answer = upstream.getresponse()
            content = answer.read().replace(f"http://{gate.behind}".encode(), gate.url.encode())
        kept = {name: value for name, value in answer.getheaders() if name.lower() not in ("content-length", "connection", "transfer-encoding")}
        if "Location" in kept:
            kept["Location"] = kept["Location"].replace(f"http://{gate.behind}", gate.url)
        self.answer(answer.status, content, kept)

    do_GET = do_POST = do_PUT = do_DELETE = pass_on

    def answer(self, status, body, headers=()):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Scene:
    def __init__(self, prometheus, gate, daemon, source):
        self.prometheus, self.gate, self.daemon, self.source = prometheus, gate, daemon, source

    def change_the_source(self, name):
        """Something new, without which a run would not ask the target at all."""
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        login = b"grant_type=client_credentials&client_id=sandbox-key&client_secret=sandbox-secret"
        token = send(f"{self.source}/oauth/token", login, form)["access_token"]
        country = {"namespace": "uri://ed-fi.org/CountryDescriptor", "codeValue": name, "shortDescription": name}
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
        send(f"{self.source}/data/v3/ed-fi/countryDescriptors", json.dumps(country).encode(), headers)

    def ask(self, expr):
        """What an expression shows now and over the last minutes, without what is no number."""
        now = time.time()
        answer = get(f"{self.prometheus}/api/v1/query_range", query=expr, start=now - 60, end=now, step=2)
        assert answer and answer["status"] == "success", expr
        return [series for series in answer["data"]["result"] if any(value != "NaN" for _, value in series["values"])]

    def now(self, expr):
        answer = get(f"{self.prometheus}/api/v1/query", query=expr)
        assert answer and answer["status"] == "success", expr
        return [series["metric"] for series in answer["data"]["result"]]


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    directory = tmp_path_factory.mktemp("live")
    with contextlib.ExitStack() as ends:
        sandboxes = [sandbox(ends, directory, *more) for more in ((), ("--empty",))]
        certificate = issue(directory)
        gate = ends.enter_context(Gate(sandboxes[1].removeprefix("http://"), certificate, directory / "key.pem"))
        ends.callback(gate.shutdown)
        (directory / "values.yaml").write_text(VALUES.format(source=sandboxes[0], target=gate.url, authorities=certificate, far=(time.gmtime().tm_hour + 12) % 24))
        objects = rendering.rendered("empty", 4, "--values", directory / "values.yaml")
        daemon = start_daemon(ends, directory, objects)
        prometheus = start_prometheus(ends, directory, objects, daemon)
        yield Scene(prometheus, gate, daemon, sandboxes[0])


def issue(directory):
    """A certificate that no system knows, for the forty days of an authority of one's own."""
    certificate = directory / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "40", "-subj", "/CN=gate",
         "-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE",
         "-keyout", directory / "key.pem", "-out", certificate],
        check=True, capture_output=True, timeout=60,
    )
    return certificate


def sandbox(ends, directory, *more):
    log = directory / f"sandbox{len(more)}.log"
    process = ends.enter_context(running(log, TIDEMARK, "sandbox", "--listen", "127.0.0.1:0", *more))
    found = until("the sandbox listens", lambda: re.search(r"url: +(http://\S+)", log.read_text()), process=process)
    return found[1]


def start_daemon(ends, directory, objects):
    pod = rendering.Pod(objects, rendering.cluster(), directory / "pod")
    address = f"127.0.0.1:{free_port()}"
    pod.here("/var/lib/tidemark").mkdir(parents=True)
    process = ends.enter_context(
        running(
            directory / "tidemark.log", TIDEMARK, *pod.container["args"],
            cwd=pod.here(pod.container["workingDir"]),
            env=pod.environment | PROXIES | {"TIDEMARK__SERVER__LISTEN": address},
        )
    )
    probes = {kind: pod.container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")}
    until("the daemon is ready", lambda: all(is_up(f"http://{address}{path}") for path in probes.values()), process=process)
    return address


def start_prometheus(ends, directory, objects, daemon):
    groups = rendering.only(objects, "PrometheusRule")["spec"]
    (directory / "rules.yaml").write_text(yaml.safe_dump(groups))
    settings = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [
            {"job_name": "tidemark", "static_configs": [{"targets": [daemon], "labels": {"namespace": "tidemark"}}]}
        ],
    }
    (directory / "prometheus.yaml").write_text(yaml.safe_dump(settings))
    url = f"http://127.0.0.1:{free_port()}"
    process = ends.enter_context(
        running(
            directory / "prometheus.log", PROMETHEUS / "prometheus", f"--config.file={directory}/prometheus.yaml",
            f"--storage.tsdb.path={directory}/data", f"--web.listen-address={url.removeprefix('http://')}",
        )
    )
    until("Prometheus is ready", lambda: is_up(f"{url}/-/ready"), process=process)
    return url


def send(url, body, headers):
    with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=10) as answer:
        return json.loads(answer.read() or b"null")


def filled_in(expr):
    for name, value in {"$__rate_interval": "10s", "$__range": "2m"}.items():
        expr = expr.replace(name, value)
    return re.sub(r"\$(namespace|publication|target|connection)", ".*", expr)


def test_every_panel_shows_something(scene):
    asked = {
        (name, panel["title"], filled_in(target["expr"]))
        for name, board in BOARDS.items() for panel in panels(board) for target in panel["targets"]
    }
    missing = set(asked)

    def everything_is_there():
        missing.difference_update({each for each in missing if scene.ask(each[2])})
        return not missing

    until(lambda: f"panels without data: {sorted(missing)}", everything_is_there)
    assert len(asked) > 50


def test_every_variable_of_a_dashboard_has_values(scene):
    for board in BOARDS.values():
        for variable in board["templating"]["list"]:
            if variable["type"] == "datasource":
                continue
            series, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]).groups()
            answer = get(f"{scene.prometheus}/api/v1/label/{label}/values", **{"match[]": filled_in(series)})
            assert answer["data"], variable["name"]


def test_prometheus_took_the_rules_of_the_chart_and_evaluates_them(scene):
    def groups():
        answer = get(f"{scene.prometheus}/api/v1/rules")["data"]["groups"]
        rules = [rule for group in answer for rule in group["rules"]]
        return all(rule["health"] == "ok" for rule in rules) and rules

    rules = until("all rules are well", groups)
    assert {rule["name"] for rule in rules if rule["type"] == "alerting"} == set(ALERTS)


def test_freshness_counts_from_the_schedule_of_each_pair(scene):
    def value(expr):
        answer = get(f"{scene.prometheus}/api/v1/query", query=expr)
        return [float(series["value"][1]) for series in answer["data"]["result"]]

    intervals = {name: value(f'tidemark_schedule_interval_seconds{{publication="{name}"}}') for name in ("district-to-state", "nightly", "by-hand")}
    assert intervals == {"district-to-state": [1], "nightly": [86400], "by-hand": [0]}
    often = 'publication="district-to-state"'
    [ahead] = until("it publishes", lambda: value(f"tidemark_fresh_until_timestamp_seconds{{{often}}} - tidemark_last_success_timestamp_seconds{{{often}}} < 10"))
    assert ahead in (1, 2), "the tick after the last success"
    assert value('tidemark_fresh_until_timestamp_seconds{publication="nightly"}') == [0], "nothing is promised before a success"
    assert value('pair:tidemark_lateness_seconds{publication=~"nightly|by-hand"}') == []


def test_a_target_that_breaks_is_told_and_clears_when_it_is_mended(scene):
    failing = ALERTS["TidemarkPairFailing"]["expr"]
    of_the_pair = lambda: [each for each in scene.now(failing) if each["publication"] == "district-to-state"]
    until("it publishes", lambda: scene.now('tidemark_last_success_timestamp_seconds{publication="district-to-state"} > 0'))
    assert of_the_pair() == []

    scene.gate.down = True
    scene.change_the_source("Elsewhere")
    [told] = until("the alert's condition becomes true", of_the_pair)
    scene.gate.down = False

    assert told["target"] == "state" and told["kind"] in ("server-error", "throttled", "timeout"), told
    until("it clears", lambda: of_the_pair() == [])


def test_the_pair_into_nobody_fails_with_its_reason(scene):
    [told] = until("it has failed", lambda: [each for each in scene.now(ALERTS["TidemarkPairFailing"]["expr"]) if each["target"] == "nobody"])

    assert told["kind"] == "unreachable"


def test_a_certificate_that_ends_is_told_in_time(scene):
    def days():
        answer = get(f"{scene.prometheus}/api/v1/query", query='certificate:tidemark_validity_seconds{connection="state", kind="server"} / 86400')
        return [float(series["value"][1]) for series in answer["data"]["result"]]

    [left] = until("the target has shown its certificate", days)
    assert 39 < left <= 40
    assert scene.now(ALERTS["TidemarkCertificateEndsSoon"]["expr"]) == [], "there are forty days"
    renewed = ALERTS["TidemarkCertificateEndsSoon"]["expr"].replace("30 *", "60 *")
    assert {each["kind"] for each in scene.now(renewed)} == {"server", "authority"}


def test_a_proxy_of_the_environment_is_not_asked(scene):
    until("it publishes", lambda: scene.now('tidemark_watermark_version{publication="district-to-state"} > 0'))


def test_the_pair_publishes_what_is_selected_and_what_that_needs(scene):
    selected = until("it publishes", lambda: scene.now('tidemark_changes_total{publication="district-to-state"}'))

    resources = {each["resource"] for each in selected}
    assert {"/ed-fi/schools", "/ed-fi/localEducationAgencies", "/ed-fi/gradeLevelDescriptors"} <= resources
    assert not resources & {"/ed-fi/students", "/ed-fi/staffs", "/ed-fi/courses"}


def test_a_linter_finds_nothing_in_what_is_scraped(scene):
    text = urllib.request.urlopen(f"http://{scene.daemon}/metrics", timeout=10).read()
    done = subprocess.run([PROMETHEUS / "promtool", "check", "metrics"], input=text, capture_output=True, timeout=30)
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
