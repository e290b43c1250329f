"""The walk of docs/operations.md from an alert to the repair, done as it is written: installed from what
the chart renders, a target that breaks, the alert, the cause in the console, the repair, the retry.

With WALKTHROUGH_PICTURES=docs/images the browser of the console's tests takes its pictures on the way."""

import contextlib
import html
import os
import pathlib
import re
import subprocess
import urllib.error
import urllib.parse
import urllib.request

import rendering
from programs import ROOT, get, until
from test_live import Gate, issue, sandbox, send, start_daemon, start_prometheus
from test_rules import ALERTS

VALUES = """
config:
  files:
    tidemark.yaml: |
      connections:
        district: {{kind: ed-fi, url: "{source}", key: {{env: SANDBOX_KEY}}, secret: {{env: SANDBOX_SECRET}}}}
        state: {{kind: ed-fi, url: "{target}", tls: {{authorities: "{authorities}"}}, key: {{env: SANDBOX_KEY}}, secret: {{env: SANDBOX_SECRET}}}}
      publications:
        district-to-state:
          source: district
          targets: [state]
          every: 5s
          isolation: bounded
          first_overlap_versions: 0
          overlap: 0s
          resources: {{include: [schools]}}
          retry: {{first_delay: 1s}}
extraEnv:
  - {{name: SANDBOX_KEY, value: sandbox-key}}
  - {{name: SANDBOX_SECRET, value: sandbox-secret}}
monitoring:
  prometheusRule: {{enabled: true}}
"""
PAIR = "/pairs/district-to-state/state"
FAILING = ALERTS["TidemarkPairFailing"]["expr"]
PICTURES = os.environ.get("WALKTHROUGH_PICTURES")


class Sound(Gate):
    """Refuses nothing by itself: a target that is up or down."""

    refuses_nothing = True


def test_an_alert_is_followed_to_its_cause_and_clears_after_the_repair(tmp_path):
    with contextlib.ExitStack() as ends:
        source, target = (sandbox(ends, tmp_path, *more) for more in ((), ("--empty",)))
        certificate = issue(tmp_path)
        gate = ends.enter_context(Sound(target.removeprefix("http://"), certificate, tmp_path / "key.pem"))
        ends.callback(gate.shutdown)
        (tmp_path / "values.yaml").write_text(VALUES.format(source=source, target=gate.url, authorities=certificate))
        objects = rendering.rendered("empty", 4, "--values", tmp_path / "values.yaml")
        daemon = start_daemon(ends, tmp_path, objects)
        prometheus = start_prometheus(ends, tmp_path, objects, daemon)
        told = lambda: get(f"{prometheus}/api/v1/query", query=FAILING)["data"]["result"]
        state = lambda: get(f"http://{daemon}/api/v1/pairs")["pairs"][0]["state"]
        until("it is in step", lambda: state() == "ok")
        assert told() == []

        gate.down = True
        change(source, "Elsewhere")
        [alert] = until("the alert's condition becomes true", told)
        assert alert["metric"]["kind"] == "server-error"
        page = read(daemon, PAIR)
        assert "failing" in page
        assert "503" in page, "the cause is in the page of the pair"
        take("walk-1-cause", f"http://{daemon}{PAIR}")

        gate.down = False
        # While an attempt of the daemon's own is under way there is nothing to order.
        until("the order is taken", lambda: press(daemon, page, f"{PAIR}/run"))
        until("it is in step again", lambda: state() == "ok")
        until("the alert's condition clears", lambda: told() == [])
        assert "Elsewhere" in countries(target)
        take("walk-2-clear", f"http://{daemon}/")


def login(api):
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    said = b"grant_type=client_credentials&client_id=sandbox-key&client_secret=sandbox-secret"
    return {"Content-Type": "application/json", "Authorization": f"Bearer {send(f'{api}/oauth/token', said, form)['access_token']}"}


def change(source, name):
    """Something new at the source."""
    country = f'{{"namespace": "uri://ed-fi.org/CountryDescriptor", "codeValue": "{name}", "shortDescription": "{name}"}}'
    send(f"{source}/data/v3/ed-fi/countryDescriptors", country.encode(), login(source))


def countries(target):
    asked = urllib.request.Request(f"{target}/data/v3/ed-fi/countryDescriptors?limit=500", headers=login(target))
    return urllib.request.urlopen(asked, timeout=10).read().decode()


def read(daemon, path):
    return urllib.request.urlopen(f"http://{daemon}{path}", timeout=10).read().decode()


def press(daemon, page, action):
    """Sends the form of a page that has this action, as its button does. Whether it was taken."""
    form = re.search(rf'<form[^>]*action="{re.escape(action)}"[^>]*>(.*?)</form>', page, re.S)
    assert form, f"the page has no button for {action}"
    hidden = re.findall(r'<input[^>]*type="hidden"[^>]*name="([^"]*)"[^>]*value="([^"]*)"', form[1])
    said = urllib.parse.urlencode([(name, html.unescape(value)) for name, value in hidden]).encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Origin": f"http://{daemon}"}
    try:
        with urllib.request.urlopen(urllib.request.Request(f"http://{daemon}{action}", said, headers), timeout=10) as answer:
            return answer.status == 200
    except urllib.error.HTTPError as refused:
        assert refused.code == 409, refused
        return False


def take(name, address):
    """A picture, where somebody wants one."""
    if PICTURES:
        file = pathlib.Path(PICTURES).resolve() / f"{name}.png"
        subprocess.run(["node", ROOT / "tests" / "console" / "picture.js", address, file], check=True, timeout=60)
