//! What a daemon counts is what its pairs went through: every family that moves by what goes wrong,
//! seen to move.

use std::fs::File;
use std::net::SocketAddr;

use tidemark::sandbox::{Fault, Gate, Harm, Refusal, Sandbox, SandboxOptions, SnapshotMode};

use crate::cli::{Desk, Ended, ended_child};
use crate::district;
use crate::lifecycle::Serving;
use crate::scene::{bare, put};
use crate::serve::{get, metric};

const STUDENTS: &str = "/ed-fi/students";

/// A daemon over a source whose snapshots are made by hand.
struct Scene {
    desk: Desk,
    daemon: Serving,
}

impl Scene {
    async fn begin() -> Scene {
        let source = SandboxOptions { snapshots: SnapshotMode::Manual, ..bare() };
        let desk = Desk::with(source, bare()).await;
        desk.source.take_snapshot();
        let daemon = Serving::begin(&desk).await;
        Scene { desk, daemon }
    }

    fn address(&self) -> SocketAddr {
        self.daemon.address
    }

    /// Typed beside the daemon, which does it.
    async fn typed(&self, arguments: &[&str]) -> Ended {
        let mut command = self.desk.command(arguments);
        command.env("TIDEMARK__SERVER__LISTEN", self.address().to_string());
        ended_child(command.spawn().unwrap()).await
    }

    async fn ends(&self, code: i32, arguments: &[&str]) -> Ended {
        let ended = self.typed(arguments).await;
        assert_eq!(ended.code, code, "{arguments:?}\n{}{}", ended.out, ended.err);
        ended
    }

    fn enrol(&self, students: &[&str]) {
        for id in students {
            put(&self.desk.source, "students", &district::student(id));
        }
        renew_snapshot(&self.desk.source);
    }

    async fn counted(&self, name: &str, label: &str) -> f64 {
        metric(self.address(), &format!("tidemark_{name}"), &[&format!("\"{label}\"")]).await
    }

    /// The id of the one parked item.
    async fn parked(&self) -> String {
        let list = self.ends(0, &["parked", "list", "--output", "json"]).await.json();
        assert_eq!(list["items"].as_array().unwrap().len(), 1, "{list}");
        list["items"][0]["id"].as_str().unwrap().to_owned()
    }
}

fn renew_snapshot(source: &Sandbox) {
    source.drop_snapshot();
    source.take_snapshot();
}

/// The target does not take this student.
fn refusing(id: &str) -> Fault {
    let refusal = Refusal::Validation("no".to_owned());
    Fault::on(STUDENTS, Harm::Refuse(refusal)).key("studentUniqueId", id)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_arrives_is_tried_again_and_is_given_up_is_counted() {
    let scene = Scene::begin().await;
    scene.ends(0, &["run"]).await;
    let latency = "end_to_end_latency_seconds_count";
    let of_first_load = scene.counted(latency, "state").await;

    scene.enrol(&["S-704"]);
    scene.ends(0, &["run"]).await;
    let of_one_change = scene.counted(latency, "state").await;
    let refused = scene.desk.target.fault(refusing("S-705"));
    scene.enrol(&["S-705"]);
    scene.ends(3, &["run"]).await;
    let before = scene.counted("parked_retries_total", "parked").await;
    scene.ends(3, &["run"]).await;
    scene.desk.target.repair(refused);
    scene.ends(0, &["run"]).await;

    assert_eq!((of_first_load, of_one_change), (0.0, 1.0));
    assert_eq!(before, 0.0, "the first attempt is no retry");
    assert_eq!(scene.counted("parked_retries_total", "parked").await, 1.0);
    assert_eq!(scene.counted("parked_retries_total", "applied").await, 1.0);

    scene.desk.target.fault(refusing("S-706"));
    scene.enrol(&["S-706"]);
    scene.ends(3, &["run"]).await;
    let id = scene.parked().await;
    scene.ends(0, &["parked", "discard", &id]).await;
    scene.desk.target.fault(refusing("S-707"));
    scene.enrol(&["S-707"]);
    scene.ends(3, &["run"]).await;
    let key = scene.desk.directory.path().join("key.json");
    std::fs::write(&key, r#"{"studentUniqueId": "S-707"}"#).unwrap();
    let mut forget = scene.desk.command(&[
        "forget",
        "--resource",
        "students",
        "--key-from-stdin",
        "--yes",
        "--reason",
        "request 17",
    ]);
    forget.env("TIDEMARK__SERVER__LISTEN", scene.address().to_string());
    forget.stdin(File::open(&key).unwrap());
    let forgotten = ended_child(forget.spawn().unwrap()).await;
    assert_eq!(forgotten.code, 0, "{}{}", forgotten.out, forgotten.err);

    assert_eq!(scene.counted("discarded_items_total", "given-up").await, 1.0);
    assert_eq!(scene.counted("discarded_items_total", "forgotten").await, 1.0);
    assert_eq!(scene.counted("discarded_items_total", "false").await, 0.0);
    assert_eq!(scene.counted("state_errors_total", "engine").await, 0.0);
    scene.daemon.process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comparison_that_somebody_asked_for_is_in_the_metrics_and_on_the_page_of_the_fleet() {
    let scene = Scene::begin().await;
    scene.ends(0, &["run"]).await;
    let fleet = async || get(scene.address(), "/").await.1;
    let before = fleet().await;
    let student = district::student_key("S-703");
    scene.desk.target.delete(STUDENTS, &student).unwrap();

    scene.ends(1, &["verify", "--resource", "students"]).await;
    let of_a_part = get(scene.address(), "/metrics").await.1;
    scene.ends(1, &["verify"]).await;
    let differs = fleet().await;
    let missing = scene.counted("compared_unlike_items", "missing").await;
    let equal = scene.counted("compared_equal", "state").await;
    scene.ends(0, &["verify", "--repair"]).await;

    assert!(before.contains(">in step<"), "{before}");
    assert!(!of_a_part.contains("tidemark_compared_equal{"), "a part says nothing of the whole");
    assert!(differs.contains(">compared, differs<"), "{differs}");
    assert_eq!((equal, missing), (0.0, 1.0));
    assert_eq!(scene.counted("compared_equal", "state").await, 1.0);
    assert!(fleet().await.contains(">verified equal<"));
    scene.daemon.process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_not_as_it_should_be_is_counted_by_what_was_found() {
    let scene = Scene::begin().await;
    scene.ends(0, &["run"]).await;
    let source = &scene.desk.source;
    let anomalies = async |kind| scene.counted("source_anomalies_total", kind).await;
    assert_eq!(anomalies("snapshot-missing").await, 0.0);

    source.drop_snapshot();
    scene.ends(1, &["run"]).await;
    scene.enrol(&["S-704"]);
    let page = source.fault(Fault::on(STUDENTS, Harm::Html));
    scene.ends(1, &["run"]).await;
    source.repair(page);
    let gate = Gate::new();
    source.fault(Fault::on(STUDENTS, Harm::Hold(gate.clone())).method("GET").times(1));
    let moving = async {
        gate.reached_by(1).await;
        scene.enrol(&["S-705"]);
        gate.open();
    };
    tokio::join!(scene.ends(0, &["run"]), moving);
    let set = ["watermark", "set", "district-to-state", "--to", "999999"];
    scene.ends(0, &[&set[..], &["--yes", "--reason", "a test"]].concat()).await;
    scene.ends(1, &["run"]).await;
    // It is still blocked, and nothing new was found.
    scene.ends(1, &["run"]).await;

    for (kind, times) in [
        ("snapshot-missing", 1.0),
        ("unexpected-answer", 1.0),
        ("snapshot-replaced", 1.0),
        ("source-regressed", 1.0),
        ("history-changed", 0.0),
    ] {
        assert_eq!(anomalies(kind).await, times, "{kind}");
    }
    scene.daemon.process.stop().await;
}
