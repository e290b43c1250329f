//! A client that no one here wrote reads the sandbox: the PyPI package `edfi-api-client`. These
//! tests need a Python that has it and fail without; `make test-peers` makes one.

use std::process::Stdio;

use serde_json::{Value, json};
use tidemark::sandbox::{ApiVersion, Sandbox, SandboxOptions, Seed};

/// The path of a Python in whose environment `tests/peers/requirements.txt` is installed.
const PYTHON: &str = "TIDEMARK_EDFI_CLIENT_PYTHON";

const SCHOOL: u32 = 255_901_107;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edfi_api_client_reads_7_3() {
    reads(ApiVersion::V7_3, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edfi_api_client_reads_6_1() {
    reads(ApiVersion::V6_1, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edfi_api_client_reads_6_1_with_a_year_in_its_paths() {
    reads(ApiVersion::V6_1, Some(2022)).await;
}

async fn reads(version: ApiVersion, year: Option<u16>) {
    let python = std::env::var_os(PYTHON)
        .unwrap_or_else(|| panic!("{PYTHON} is not set; run these tests by `make test-peers`"));
    let options = SandboxOptions { version, year, data: Seed::Sample, ..SandboxOptions::default() };
    let server = Sandbox::start(options.clone()).await.unwrap();
    let (deletes, key_changes) = edit(&server);
    server.take_snapshot();

    let mut command = tokio::process::Command::new(python);
    command
        .arg("tests/peers/edfi_api_client_reads_the_sandbox.py")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("SANDBOX_URL", server.url())
        .env("SANDBOX_KEY", &options.key)
        .env("SANDBOX_SECRET", &options.secret)
        .env("SANDBOX_VERSION", version.as_str())
        .env("SANDBOX_SECTIONS", server.count("/ed-fi/sections").to_string())
        .env("SANDBOX_DELETES", deletes.to_string())
        .env("SANDBOX_KEY_CHANGES", key_changes.to_string())
        .env("NO_PROXY", "127.0.0.1")
        .stdin(Stdio::null());
    if let Some(year) = year {
        command.env("SANDBOX_YEAR", year.to_string());
    }
    let output = command.output().await.unwrap();

    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let failed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{failed}");
    assert!(said.ends_with("read\n"), "{said}");
}

/// Renames two sections that nothing refers to and deletes three.
fn edit(server: &Sandbox) -> (usize, usize) {
    let mut keys = Vec::new();
    for number in 0..5 {
        let section = json!({"sectionIdentifier": format!("new {number}"),
            "courseOfferingReference": offering(server)});
        server.upsert("/ed-fi/sections", &section).unwrap();
        keys.push(server.key_of("/ed-fi/sections", &section).unwrap());
    }
    for key in &keys[..2] {
        let mut new = key.clone();
        let name = key["sectionIdentifier"].as_str().unwrap();
        new["sectionIdentifier"] = json!(format!("renamed {name}"));
        server.rename("/ed-fi/sections", key, &new).unwrap();
    }
    for key in &keys[2..] {
        server.delete("/ed-fi/sections", key).unwrap();
    }
    (3, 2)
}

fn offering(server: &Sandbox) -> Value {
    let offerings = server.items("/ed-fi/courseOfferings");
    let item = offerings
        .iter()
        .find(|item| item["schoolReference"]["schoolId"] == SCHOOL)
        .expect("the school has courses");
    server.key_of("/ed-fi/courseOfferings", item).unwrap()
}
