//! `tidemark verify` as a process that is killed, and what it has in its files meanwhile.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tidemark::sandbox::{Fault, Gate, Harm};

use super::{Desk, Ended, ended_child, signal};
use crate::district;
use crate::scene::put;

fn files_under(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            found.extend(files_under(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}

fn of_students(ended: &Ended, count: &str) -> Value {
    let answer = ended.json();
    let mut resources = answer["verify"][0]["resources"].as_array().unwrap().iter();
    resources.find(|one| one["resource"] == "/ed-fi/students").unwrap()[count].clone()
}

fn is_read_of(resource: &str) -> impl Fn(&tidemark::sandbox::LoggedRequest) -> bool {
    move |request| request.path.ends_with(resource)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comparison_that_was_killed_or_interrupted_goes_on_where_it_stopped() {
    for ending in ["KILL", "TERM"] {
        let desk = Desk::new().await;
        desk.tidemark(&["run"]).await;
        desk.target.delete("/ed-fi/students", &district::student_key("S-702")).unwrap();
        let gate = Gate::new();
        let held = Fault::on("/ed-fi/schools", Harm::Hold(gate.clone())).method("GET").times(1);
        desk.target.fault(held);
        let state = desk.directory.path().join("state");

        let verifying = desk.command(&["verify", "--output", "json"]).spawn().unwrap();
        gate.reached_by(1).await;
        let while_it_went_on = files_under(&state.join("verify"));
        signal(&verifying, ending).await;
        let output = verifying.wait_with_output().await.unwrap();
        gate.open();
        assert!(!output.status.success(), "{ending}");
        desk.source.clear_requests();
        let after = desk.tidemark(&["verify", "--output", "json"]).await;

        assert!(!while_it_went_on.is_empty(), "{ending}");
        let missing = of_students(&after, "missing");
        assert_eq!((after.code, missing), (1, json!(1)), "{ending}: {}", after.err);
        assert!(after.err.contains("went on with a comparison begun"), "{ending}: {}", after.err);
        let requests = desk.source.requests();
        assert!(!requests.is_empty(), "{ending}");
        assert!(!requests.iter().any(is_read_of("/students")), "{ending}: they were done");
        assert_eq!(files_under(&state.join("verify")), Vec::<PathBuf>::new(), "{ending}");
    }
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn the_files_of_a_comparison_are_for_their_owner_and_hold_no_key() {
    use std::os::unix::fs::PermissionsExt;
    let desk = Desk::new().await;
    desk.tidemark(&["run"]).await;
    let gate = Gate::new();
    desk.target.fault(Fault::on("/ed-fi/students", Harm::Hold(gate.clone())).method("GET"));
    let spool = desk.directory.path().join("state/verify");

    let verifying = desk.command(&["verify", "--content"]).spawn().unwrap();
    gate.reached_by(1).await;
    let files = files_under(&spool);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for file in &files {
        let bytes = std::fs::read(file).unwrap();
        assert!(!bytes.windows(5).any(|part| part == b"S-702"), "{}", file.display());
        assert_eq!(mode(file), 0o600, "{}", file.display());
        assert_eq!(mode(file.parent().unwrap()), 0o700);
    }
    gate.open();
    let ended = ended_child(verifying).await;

    assert!(!files.is_empty());
    assert_eq!(mode(&spool), 0o700);
    assert_eq!(ended.code, 0, "{}", ended.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_says_whether_bodies_are_compared() {
    let desk = Desk::new().await;
    desk.tidemark(&["run"]).await;
    let mut other = district::student("S-702");
    other["firstName"] = json!("Another");
    put(&desk.target, "students", &other);

    let by_key = desk.tidemark(&["verify"]).await;
    desk.configure(&desk.usual("    verify: {content: true}\n"));
    let by_body = desk.tidemark(&["verify", "--output", "json"]).await;

    assert_eq!(by_key.code, 0, "{}", by_key.err);
    let different = of_students(&by_body, "different");
    assert_eq!((by_body.code, different), (1, json!(1)), "{}", by_body.err);
}
