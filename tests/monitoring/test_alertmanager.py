"""One cause is one page: the example for Alertmanager, with a real one."""

import http.server
import json
import threading
import time
import urllib.request

import pytest

from programs import PROMETHEUS, ROOT, free_port, get, is_up, running, until

PAIRS = 600


class Receivers(http.server.ThreadingHTTPServer):
    """A pager and a place for tickets, which keep what they are told."""

    def __init__(self):
        self.told = []
        super().__init__(("127.0.0.1", 0), Receiver)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def notifications(self, receiver):
        return [body for path, body in list(self.told) if path == f"/{receiver}"]


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.told.append((self.path, body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def manager(tmp_path):
    """The example as it is, but for who is told, and how long it waits for more of the same."""
    with Receivers() as receivers:
        text = (ROOT / "monitoring" / "alertmanager.yaml").read_text()
        assert "http://127.0.0.1:9095/" in text and "group_wait: 30s" in text
        text = text.replace(":9095/", f":{receivers.server_port}/").replace("group_wait: 30s", "group_wait: 1s")
        (tmp_path / "alertmanager.yaml").write_text(text)
        url = f"http://127.0.0.1:{free_port()}"
        command = (
            PROMETHEUS / "prometheus-alertmanager", f"--config.file={tmp_path}/alertmanager.yaml",
            f"--storage.path={tmp_path}/data", f"--web.listen-address={url.removeprefix('http://')}",
            "--cluster.listen-address=",
        )
        with running(tmp_path / "alertmanager.log", *command) as process:
            until("alertmanager is ready", lambda: is_up(f"{url}/-/ready"), process=process)
            yield url, receivers
        receivers.shutdown()


def alert(name, severity, **labels):
    return {"labels": {"alertname": name, "severity": severity, "namespace": "n", **labels}}


def of_every_pair(name, severity, target="state"):
    return [alert(name, severity, publication=f"d-{number}", target=target) for number in range(PAIRS)]


def post(url, alerts):
    request = urllib.request.Request(
        f"{url}/api/v2/alerts", json.dumps(alerts).encode(), {"Content-Type": "application/json"}
    )
    urllib.request.urlopen(request, timeout=20)


def states(url, count):
    """How many alerts are suppressed and active, once all have been looked at."""
    def looked_at():
        alerts = get(f"{url}/api/v2/alerts") or []
        known = [each["status"]["state"] for each in alerts]
        return len(known) == count and "unprocessed" not in known and known

    seen = until("the alerts have been looked at", looked_at)
    return {state: seen.count(state) for state in set(seen)}


def test_one_dead_target_is_one_page_and_not_six_hundred(manager):
    url, receivers = manager
    dead = alert("TidemarkTargetFailing", "critical", target="state")
    late, failing = of_every_pair("TidemarkPairLate", "critical"), of_every_pair("TidemarkPairFailing", "warning")
    errors = alert("TidemarkConnectionErrors", "warning", target="state", connection="state", origin="o")
    # One that has another cause: it is told all the same.
    other = alert("TidemarkItemsDead", "warning", publication="x", target="warehouse")

    post(url, [dead, *late, *failing, errors, other])

    assert states(url, 2 * PAIRS + 3) == {"active": 2, "suppressed": 2 * PAIRS + 1}
    until("both are told", lambda: receivers.notifications("pager") and receivers.notifications("tickets"))
    # Groups that have nothing left to tell would have been due with those that had.
    time.sleep(2)
    [page], [ticket] = receivers.notifications("pager"), receivers.notifications("tickets")
    assert [each["labels"]["alertname"] for each in page["alerts"]] == ["TidemarkTargetFailing"]
    assert [each["labels"]["alertname"] for each in ticket["alerts"]] == ["TidemarkItemsDead"]


def test_without_a_larger_cause_each_kind_of_alert_is_one_notification(manager):
    url, receivers = manager

    post(url, of_every_pair("TidemarkPairLate", "critical"))

    [page] = until("it is told", lambda: receivers.notifications("pager"))
    assert len(page["alerts"]) == PAIRS


def test_a_blocked_pair_is_told_as_that_alone_and_another_pair_as_what_it_is(manager):
    url, receivers = manager
    pair = {"publication": "p", "target": "t"}

    post(url, [
        alert("TidemarkPairBlocked", "critical", **pair),
        alert("TidemarkPairLate", "critical", **pair),
        alert("TidemarkPairLate", "critical", publication="q", target="t"),
    ])

    assert states(url, 3) == {"active": 2, "suppressed": 1}
    until("both are told", lambda: len(receivers.notifications("pager")) == 2)


def test_when_nobody_reports_nothing_else_is_told(manager):
    url, _ = manager

    post(url, [alert("TidemarkNotReporting", "critical"), *of_every_pair("TidemarkPairMissing", "warning")])

    assert states(url, PAIRS + 1) == {"active": 1, "suppressed": PAIRS}
