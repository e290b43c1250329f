//! The daemon and what people change while it runs: the configuration, pauses, runs, secrets.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tidemark::config;
use tidemark::daemon::agenda::{Wanted, Wish};
use tidemark::daemon::at_work::AtWork;
use tidemark::daemon::serve::{Daemon, DaemonError, Handle, Reloading};
use tidemark::sandbox::{Fault, Gate, Harm, Sandbox};
use tidemark::state::PairId;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::district;
use crate::process::BOUND;
use crate::scene::{bare, put, strict};
use crate::serve::{
    EVERY_SECOND, House, errors_of_runs, eventually, get, metric, pair, pairs, reach, sandbox,
};

const MANUAL: &str = "  district-to-state:\n    source: district\n    targets: [state]\n    \
                      resources: {descriptors: false}\n";

/// A daemon that takes another configuration when it is told to, or sees one.
struct Changing {
    address: std::net::SocketAddr,
    handle: Handle,
    reload: Arc<Notify>,
    stop: CancellationToken,
    ended: tokio::task::JoinHandle<Result<(), DaemonError>>,
}

impl Changing {
    async fn ready(path: PathBuf) -> Changing {
        let env = BTreeMap::new();
        let config = config::load(&path, &env).unwrap().config;
        let reload = Arc::new(Notify::new());
        let reloading = Reloading { path, env: env.clone(), now: Arc::clone(&reload) };
        let daemon = Daemon::listen(config).await.unwrap().reloading(reloading);
        let (address, handle) = (daemon.address(), daemon.handle());
        let stop = CancellationToken::new();
        let until = stop.clone();
        let ended = tokio::spawn(async move { daemon.run(&env, Duration::ZERO, until).await });
        let daemon = Changing { address, handle, reload, stop, ended };
        eventually("ready", || async { daemon.handle.at_work().is_some() }).await;
        daemon
    }

    fn at_work(&self) -> Arc<AtWork> {
        self.handle.at_work().unwrap()
    }

    async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(BOUND, self.ended).await.expect("it ends").unwrap().unwrap();
    }

    async fn state_is(&self, wanted: &str) {
        eventually(wanted, || async move {
            pair(self.address, "district-to-state").await["state"] == wanted
        })
        .await;
    }

    /// The pair, when its last run has this outcome.
    async fn last_run_is(&self, outcome: &str) -> Value {
        eventually(outcome, || async move {
            pair(self.address, "district-to-state").await["last_run"]["outcome"] == outcome
        })
        .await;
        pair(self.address, "district-to-state").await
    }
}

fn the_pair() -> PairId {
    PairId { publication: "district-to-state".to_owned(), target: "state".to_owned() }
}

/// A source with a school, a target with nothing, and a configuration of them with `publications`.
async fn two_ends(house: &House, publications: &str) -> (Sandbox, Sandbox) {
    let (source, target) = (sandbox(bare()).await, sandbox(strict()).await);
    put(&source, "localEducationAgencies", &district::agency());
    put(&source, "schools", &district::school());
    let connections = [("district", reach(&source)), ("state", reach(&target))];
    house.config(&connections, publications);
    (source, target)
}

fn text(house: &House) -> String {
    std::fs::read_to_string(house.path("tidemark.yaml")).unwrap()
}

#[tokio::test]
async fn a_changed_configuration_is_in_force_without_a_restart_and_a_bad_one_is_not() {
    let house = House::new();
    let (_source, target) = two_ends(&house, MANUAL).await;
    let daemon = Changing::ready(house.path("tidemark.yaml")).await;
    let address = daemon.address;
    let good = text(&house);

    let bad = good.replace("targets: [state]", "targets: [stat]");
    std::fs::write(house.path("tidemark.yaml"), bad).unwrap();
    daemon.reload.notify_one();
    eventually("refused", || async { daemon.at_work().refused_configuration().is_some() }).await;
    let refused = metric(address, "tidemark_config_reload_refused", &[]).await;
    let kept = pairs(address).await;
    let told = body(address, "/api/v1/status").await["refused_configuration"].clone();
    let (ready, said) = get(address, "/readyz").await;

    let more = good.replace("descriptors: false}", "descriptors: false}\n    every: 1s");
    std::fs::write(house.path("tidemark.yaml"), more).unwrap();
    // Nobody says so: it is seen.
    eventually("published", || async { target.count("/ed-fi/schools") == 1 }).await;
    let mended = body(address, "/api/v1/status").await;

    assert_eq!((refused, kept.len()), (1.0, 1));
    let problem = &told["problems"][0];
    assert!(problem["file"].as_str().unwrap().ends_with("tidemark.yaml"), "{told}");
    let line = good.lines().position(|line| line.contains("targets: [state]")).unwrap() + 1;
    assert_eq!(problem["line"], line, "{told}");
    assert!(problem["message"].as_str().unwrap().contains("`stat`"), "{told}");
    assert_eq!(ready, 200, "{said}");
    assert!(said.contains("is refused") && !said.contains("stat`"), "{said}");
    assert_eq!(mended["refused_configuration"], Value::Null);
    assert_eq!(metric(address, "tidemark_config_reload_refused", &[]).await, 0.0);
    let ok = metric(address, "tidemark_config_reloads_total", &[r#"outcome="ok""#]).await;
    assert_eq!(ok, 1.0);
    assert_eq!(daemon.at_work().refused_configuration(), None);
    daemon.stop().await;
}

async fn body(address: SocketAddr, path: &str) -> Value {
    let (status, text) = get(address, path).await;
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).unwrap()
}

#[tokio::test]
async fn a_link_that_leads_to_another_directory_is_another_configuration() {
    let house = House::new();
    let (_source, target) = two_ends(&house, MANUAL).await;
    let (one, other, links) = (house.path("one"), house.path("other"), house.path("links"));
    for directory in [&one, &other, &links] {
        std::fs::create_dir(directory).unwrap();
    }
    let every = text(&house).replace("descriptors: false}", "descriptors: false}\n    every: 1s");
    std::fs::write(one.join("a.yaml"), text(&house)).unwrap();
    std::fs::write(other.join("a.yaml"), every).unwrap();
    // As a cluster mounts it: a file is a link through a link that is swapped.
    std::os::unix::fs::symlink(&one, links.join("..data")).unwrap();
    std::os::unix::fs::symlink("..data/a.yaml", links.join("a.yaml")).unwrap();
    let daemon = Changing::ready(links.clone()).await;

    std::os::unix::fs::symlink(&other, links.join("..new")).unwrap();
    std::fs::rename(links.join("..new"), links.join("..data")).unwrap();

    eventually("published", || async { target.count("/ed-fi/schools") == 1 }).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_run_in_flight_ends_under_the_configuration_that_it_began_with() {
    let house = House::new();
    let (_source, target) = two_ends(&house, EVERY_SECOND).await;
    let gate = Gate::new();
    target.fault(Fault::on("/ed-fi/schools", Harm::Hold(gate.clone())).method("POST"));
    let daemon = Changing::ready(house.path("tidemark.yaml")).await;
    gate.reached_by(1).await;

    let renamed = text(&house).replace("district-to-state:", "another:");
    std::fs::write(house.path("tidemark.yaml"), renamed).unwrap();
    daemon.reload.notify_one();
    let address = daemon.address;
    eventually("in force", || async move {
        pairs(address).await.iter().any(|pair| pair["publication"] == "another")
    })
    .await;
    gate.open();
    eventually("published", || async { target.count("/ed-fi/schools") == 1 }).await;
    eventually("ended", || async move {
        let pairs = pairs(address).await;
        pairs.iter().any(|pair| pair["state"] == "orphaned" && pair["watermark"].is_number())
    })
    .await;
    daemon.stop().await;

    assert_eq!(errors_of_runs(&house).await, [None]);
}

#[tokio::test]
async fn a_pause_outlives_the_process_and_a_pair_that_is_resumed_runs() {
    let house = House::new();
    let (_source, target) = two_ends(&house, EVERY_SECOND).await;
    target.go_down();
    let daemon = Changing::ready(house.path("tidemark.yaml")).await;
    let reason = Some("the state moves".to_owned());
    let paused = daemon.at_work().pause(&[the_pair()], None, reason).await.unwrap();
    daemon.stop().await;
    target.come_up();

    let daemon = Changing::ready(house.path("tidemark.yaml")).await;
    daemon.state_is("paused").await;
    let shown = pair(daemon.address, "district-to-state").await;
    let wish = daemon.at_work().run_now(&[the_pair()], Wanted::default()).await.unwrap();
    let before = target.count("/ed-fi/schools");
    daemon.at_work().resume(&[the_pair()]).await.unwrap();
    eventually("published", || async { target.count("/ed-fi/schools") == 1 }).await;
    daemon.stop().await;

    assert_eq!((paused, before), (1, 0));
    assert_eq!(shown["reason"], "until somebody resumes it: the state moves");
    assert_eq!(wish, [(the_pair(), Wish::Paused)]);
}

#[tokio::test]
async fn a_run_that_somebody_wants_begins_and_one_that_is_cancelled_is_gone_on_with() {
    let house = House::new();
    let (_source, target) = two_ends(&house, MANUAL).await;
    let gate = Gate::new();
    let fault = target.fault(Fault::on("/ed-fi/schools", Harm::Hold(gate.clone())).method("POST"));
    let daemon = Changing::ready(house.path("tidemark.yaml")).await;

    let wish = daemon.at_work().run_now(&[the_pair()], Wanted::default()).await.unwrap();
    gate.reached_by(1).await;
    let again = daemon.at_work().run_now(&[the_pair()], Wanted::default()).await.unwrap();
    let cancelled = daemon.at_work().cancel(&[the_pair()]);
    gate.open();
    let stopped = daemon.last_run_is("failed").await;
    let counted = metric(daemon.address, "tidemark_runs_total", &[r#"outcome="stopped""#]).await;
    target.repair(fault);
    daemon.at_work().run_now(&[the_pair()], Wanted::default()).await.unwrap();
    daemon.last_run_is("complete").await;
    daemon.stop().await;

    assert_eq!(wish, [(the_pair(), Wish::Granted)]);
    assert_eq!(again, [(the_pair(), Wish::AlreadyRunning)]);
    assert_eq!(cancelled, [the_pair()]);
    let reason = stopped["reason"].as_str().unwrap();
    assert!(reason.starts_with("the run was cancelled"), "{reason}");
    assert_eq!((&stopped["state"], &stopped["failed_runs"]), (&json!("ok"), &json!(0)));
    assert_eq!(counted, 1.0);
    let kinds = errors_of_runs(&house).await;
    assert_eq!(kinds, [None, Some("cancelled".to_owned())]);
}

#[tokio::test]
async fn a_run_stops_at_its_deadline_and_the_next_one_goes_on_with_it() {
    let house = House::new();
    let publications = MANUAL.to_owned() + "    deadline: 1s\n";
    let (_source, target) = two_ends(&house, &publications).await;
    let gate = Gate::new();
    let fault = target.fault(Fault::on("/ed-fi/schools", Harm::Hold(gate.clone())).method("POST"));
    let daemon = Changing::ready(house.path("tidemark.yaml")).await;

    daemon.at_work().run_now(&[the_pair()], Wanted::default()).await.unwrap();
    let first = daemon.last_run_is("failed").await;
    let counted = metric(daemon.address, "tidemark_runs_total", &[r#"outcome="stopped""#]).await;
    gate.open();
    target.repair(fault);
    daemon.at_work().run_now(&[the_pair()], Wanted::default()).await.unwrap();
    daemon.last_run_is("complete").await;
    daemon.stop().await;

    let reason = first["reason"].as_str().unwrap();
    assert!(reason.starts_with("the run lasted as long as its `deadline` allows"), "{reason}");
    assert_eq!(first["next_run_at"], Value::Null, "nothing starts it by itself");
    assert_eq!((&first["state"], &first["failed_runs"]), (&json!("ok"), &json!(0)));
    assert_eq!(counted, 1.0);
    assert_eq!(errors_of_runs(&house).await, [None, Some("deadline".to_owned())]);
}

#[tokio::test]
async fn a_connection_that_closes_stops_its_run_and_it_goes_on_when_that_opens() {
    let house = House::new();
    let (_source, target) = two_ends(&house, EVERY_SECOND).await;
    let gate = Gate::new();
    let fault = target.fault(Fault::on("/ed-fi/schools", Harm::Hold(gate.clone())).method("POST"));
    let daemon = Changing::ready(house.path("tidemark.yaml")).await;
    gate.reached_by(1).await;
    let open = text(&house);

    let hours = "closed: [{cron: \"* * * * * *\", for: 1h}], kind: ed-fi";
    std::fs::write(house.path("tidemark.yaml"), open.replace("kind: ed-fi", hours)).unwrap();
    daemon.reload.notify_one();
    daemon.state_is("waiting").await;
    let held = pair(daemon.address, "district-to-state").await;
    gate.open();
    target.repair(fault);
    std::fs::write(house.path("tidemark.yaml"), open).unwrap();
    daemon.reload.notify_one();
    let address = daemon.address;
    eventually("published", || async move {
        pair(address, "district-to-state").await["watermark"].is_number()
    })
    .await;
    daemon.stop().await;

    let reason = held["reason"].as_str().unwrap();
    assert!(reason.starts_with("connection `district` is closed until "), "{reason}");
    assert_eq!(held["failed_runs"], 0, "nobody failed");
    let kinds = errors_of_runs(&house).await;
    assert_eq!(kinds.last().unwrap(), &Some("closed".to_owned()), "{kinds:?}");
    assert_eq!(target.count("/ed-fi/schools"), 1);
}

#[tokio::test]
async fn sighup_has_the_configuration_read_again() {
    let house = House::new();
    let (_source, _target) = two_ends(&house, MANUAL).await;

    let mut process = crate::serve::process(&house);
    process.says("ready").await;
    process.signal("HUP").await;
    process.says("the configuration on disk is the one in force").await;
    std::fs::write(house.path("tidemark.yaml"), text(&house) + "servr: {}\n").unwrap();
    process.signal("HUP").await;
    process.says("the last good configuration stays in force").await;
    process.signal("TERM").await;

    let (status, said) = process.end().await;
    assert_eq!(status, Some(0), "{said}");
}

#[tokio::test]
async fn p13_a_configuration_with_a_mistake_is_refused_and_the_last_good_one_publishes_on() {
    let house = House::new();
    let (source, target) = two_ends(&house, EVERY_SECOND).await;
    let daemon = Changing::ready(house.path("tidemark.yaml")).await;
    let address = daemon.address;
    let good = text(&house);
    let mistakes = [
        ("no YAML", good.replace("publications:", "publications: [")),
        ("an unknown key", good.replace("every: 1s", "evry: 1s")),
        ("a wrong type", good.replace("targets: [state]", "targets: {state: 1}")),
        ("an unknown name", good.replace("targets: [state]", "targets: [stat]")),
        ("half of it", good[..good.find("    targets").unwrap()].to_owned()),
        ("nothing yet", String::new()),
    ];

    for (number, (what, bad)) in (1..).zip(mistakes) {
        assert_ne!(bad, good, "{what}");
        std::fs::write(house.path("tidemark.yaml"), bad).unwrap();
        daemon.reload.notify_one();
        eventually(what, || async { daemon.at_work().refused_configuration().is_some() }).await;
        let refused = metric(address, "tidemark_config_reload_refused", &[]).await;
        put(&source, "courses", &district::course(&format!("ALG-{number}")));
        eventually(what, || async { target.count("/ed-fi/courses") == number }).await;
        std::fs::write(house.path("tidemark.yaml"), &good).unwrap();
        daemon.reload.notify_one();
        eventually(what, || async { daemon.at_work().refused_configuration().is_none() }).await;

        assert_eq!(refused, 1.0, "{what}");
        assert_eq!(metric(address, "tidemark_config_reload_refused", &[]).await, 0.0, "{what}");
    }
    daemon.stop().await;
}

/// The two ends with the target's secret in the file at the end of this path below the house.
async fn with_secret_file(house: &House, path: &str) -> (Sandbox, Sandbox) {
    let (source, target) = two_ends(house, EVERY_SECOND).await;
    let secret = format!("secret: {{file: {}}}", house.path(path).display());
    let text = text(house);
    let (before, after) = text.rsplit_once("secret: sandbox-secret").unwrap();
    std::fs::write(house.path("tidemark.yaml"), format!("{before}{secret}{after}")).unwrap();
    (source, target)
}

#[tokio::test]
async fn p13_a_secret_that_is_still_empty_holds_its_pairs_and_is_never_sent() {
    let house = House::new();
    let (_source, target) = with_secret_file(&house, "secret").await;
    std::fs::write(house.path("secret"), "").unwrap();

    let daemon = Changing::ready(house.path("tidemark.yaml")).await;
    daemon.state_is("waiting").await;
    let held = pair(daemon.address, "district-to-state").await;
    let asked = target.requests().len();
    std::fs::write(house.path("secret"), "sandbox-secret\n").unwrap();
    eventually("published", || async { target.count("/ed-fi/schools") == 1 }).await;
    daemon.stop().await;

    let reason = held["reason"].as_str().unwrap();
    assert!(reason.contains("connection `state`") && reason.contains("empty"), "{reason}");
    assert_eq!(asked, 0);
}

#[tokio::test]
async fn p14_a_secret_whose_link_is_swapped_is_read_again_after_a_401_without_a_restart() {
    let house = House::new();
    let (source, target) = with_secret_file(&house, "links/secret").await;
    for (directory, secret) in [("right", "sandbox-secret"), ("wrong", "another-secret")] {
        std::fs::create_dir(house.path(directory)).unwrap();
        std::fs::write(house.path(directory).join("secret"), secret).unwrap();
    }
    std::fs::create_dir(house.path("links")).unwrap();
    // As a cluster mounts it: a file is a link through a link that is swapped.
    let swap_to = |directory: &str| {
        let links = house.path("links");
        std::os::unix::fs::symlink(house.path(directory), links.join("..new")).unwrap();
        std::fs::rename(links.join("..new"), links.join("..data")).unwrap();
    };
    swap_to("right");
    std::os::unix::fs::symlink("..data/secret", house.path("links/secret")).unwrap();
    let daemon = Changing::ready(house.path("tidemark.yaml")).await;
    eventually("published", || async { target.count("/ed-fi/schools") == 1 }).await;

    swap_to("wrong");
    target.expire_tokens();
    put(&source, "courses", &district::course("ALG-1"));
    daemon.state_is("failing").await;
    let refused = pair(daemon.address, "district-to-state").await;
    swap_to("right");
    eventually("published again", || async { target.count("/ed-fi/courses") == 1 }).await;
    daemon.state_is("ok").await;
    daemon.stop().await;

    let reason = refused["reason"].as_str().unwrap();
    assert!(reason.contains("connection `state`") && reason.contains("check `key`"), "{reason}");
}
