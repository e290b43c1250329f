//! What is remembered, taken out and brought in: nothing half, nothing by accident, nothing public.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use super::Desk;
use crate::district;
use crate::scene::put;

impl Desk {
    fn write(&self, name: &str, text: &str) {
        fs::write(self.directory.path().join(name), text).unwrap();
    }

    async fn listed(&self) -> Value {
        let listed = self.tidemark(&["state", "list", "--output", "json"]).await;
        assert_eq!(listed.code, 0, "{}", listed.err);
        listed.json()["items"].clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exported_state_is_private_and_brings_everything_back() {
    let desk = Desk::new().await;
    desk.tidemark(&["run"]).await;
    let before = desk.listed().await;

    let exported = desk.tidemark(&["state", "export", "--to", "backup.jsonl"]).await;
    let shown = desk.tidemark(&["state", "export"]).await;
    fs::remove_dir_all(desk.directory.path().join("state")).unwrap();
    let imported = desk.tidemark(&["state", "import", "backup.jsonl"]).await;
    let unsure = desk.tidemark(&["state", "import", "backup.jsonl"]).await;
    let sure = desk.tidemark(&["state", "import", "backup.jsonl", "--yes"]).await;
    put(&desk.source, "students", &district::student("S-704"));
    let run = desk.tidemark(&["run", "--output", "json"]).await;

    assert_eq!(exported.code, 0, "{}", exported.err);
    let file = desk.directory.path().join("backup.jsonl");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!desk.directory.path().join("backup.jsonl.tmp").exists());
    let text = fs::read_to_string(file).unwrap();
    let records = |text: &str| -> Vec<String> {
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines[1..lines.len() - 1].to_vec()
    };
    assert_eq!(records(&shown.out), records(&text), "standard output has the same records");
    assert_eq!(imported.code, 0, "{}", imported.err);
    assert_eq!((unsure.code, sure.code), (2, 0), "{}{}", unsure.err, sure.err);
    assert!(unsure.err.contains("1 pair") && unsure.err.contains("--yes"), "{}", unsure.err);
    assert_eq!(before[0]["watermark"].as_i64().unwrap() + 1, desk.source.newest());
    assert_eq!(run.json()["runs"][0]["stages"]["upserts"]["applied"], 1, "{}", run.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_export_is_refused_whole_and_nothing_of_it_is_repeated() {
    let desk = Desk::new().await;
    desk.tidemark(&["run"]).await;
    desk.tidemark(&["state", "export", "--to", "backup.jsonl"]).await;
    let before = desk.listed().await;
    let text = fs::read_to_string(desk.directory.path().join("backup.jsonl")).unwrap();
    for (case, damaged) in [
        ("cut off", text[..text.len() / 2].to_owned()),
        ("changed", text.replacen("district-to-state", "district-to-sneak", 1)),
        ("no export", "604854 is a student\n".to_owned()),
        ("empty", String::new()),
    ] {
        desk.write("damaged.jsonl", &damaged);

        let refused = desk.tidemark(&["state", "import", "damaged.jsonl", "--yes"]).await;

        assert_eq!(refused.code, 2, "{case}: {}", refused.err);
        assert!(refused.err.contains("nothing was imported"), "{case}: {}", refused.err);
        assert!(!refused.err.contains("604854"), "{case}: {}", refused.err);
        assert_eq!(desk.listed().await, before, "{case}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn watermarks_of_another_program_are_where_the_next_run_goes_on() {
    let desk = Desk::new().await;
    let newest = desk.source.newest();
    desk.write(
        "watermarks.jsonl",
        &format!(
            "{}\n",
            json!({"publication": "district-to-state", "target": "state", "watermark": newest})
        ),
    );
    desk.write("stranger.jsonl", "{\"publication\":\"x\",\"target\":\"state\",\"watermark\":1}\n");

    let stranger = desk.tidemark(&["state", "import", "stranger.jsonl"]).await;
    let imported = desk.tidemark(&["state", "import", "watermarks.jsonl"]).await;
    put(&desk.source, "students", &district::student("S-704"));
    let run = desk.tidemark(&["run", "--output", "json"]).await;

    assert_eq!(stranger.code, 2);
    assert!(stranger.err.contains("x → state"), "{}", stranger.err);
    assert_eq!(imported.code, 0, "{}", imported.err);
    assert_eq!(run.json()["runs"][0]["window"]["after"], newest);
    assert_eq!(run.json()["runs"][0]["stages"]["upserts"]["applied"], 1, "{}", run.out);
}

/// What runs since an export wrote may be older than what it speaks for: a person may say that it is not.
#[tokio::test(flavor = "multi_thread")]
async fn i1_an_export_does_not_raise_a_watermark_and_a_line_of_a_person_does() {
    let desk = Desk::new().await;
    desk.tidemark(&["run"]).await;
    let newest = desk.source.newest();
    desk.tidemark(&["state", "export", "--to", "backup.jsonl"]).await;
    let back = ["watermark", "set", "district-to-state", "--to", "1", "--yes", "--reason", "test"];
    desk.tidemark(&back).await;
    let line = json!({"publication": "district-to-state", "target": "state", "watermark": newest});
    desk.write("line.jsonl", &format!("{line}\n"));

    let export = desk.tidemark(&["state", "import", "backup.jsonl", "--yes"]).await;
    let after_export = desk.listed().await;
    let said = desk.tidemark(&["state", "import", "line.jsonl", "--yes"]).await;
    let after_line = desk.listed().await;

    assert_eq!((export.code, said.code), (0, 0), "{}{}", export.err, said.err);
    assert_eq!(after_export[0]["watermark"], 1);
    assert_eq!(after_line[0]["watermark"], newest);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watermarks_of_the_api_publisher_are_taken_over_and_what_has_no_pair_is_told() {
    let desk = Desk::new().await;
    let newest = desk.source.newest();
    let connections = |versions: Value| {
        json!({"connections": [
            {"name": "District", "url": "https://elsewhere.example", "key": "the-key",
             "secret": "the-secret", "lastChangeVersionsProcessed": versions},
            {"name": "Somewhere_Else", "url": format!("{}/", desk.target.url())},
        ]})
        .to_string()
    };
    let text = json!({"Somewhere_Else": newest, "gone": 5}).to_string();
    desk.write("by-address.json", &connections(Value::String(text)));
    desk.write("by-name.json", &connections(json!({"nightly:STATE": newest - 1})));
    desk.write("nobody.json", &connections(json!({"gone": 5})));
    desk.write("unclear.json", &connections(json!({"state": "soon"})));
    let import = ["state", "import", "--from", "api-publisher"];

    let by_address = desk.tidemark(&[&import[..], &["by-address.json"]].concat()).await;
    let after_address = desk.listed().await;
    let by_name = desk.tidemark(&[&import[..], &["by-name.json", "--yes"]].concat()).await;
    let after_name = desk.listed().await;

    assert_eq!(by_address.code, 0, "{}", by_address.err);
    assert!(by_address.err.contains("from `District` to `gone` (version 5)"), "{}", by_address.err);
    assert_eq!(after_address[0]["watermark"], newest);
    assert_eq!(by_name.code, 0, "{}", by_name.err);
    assert_eq!(after_name[0]["watermark"], newest - 1);
    for (file, says) in [("nobody.json", "no publication goes"), ("unclear.json", "no map")] {
        let refused = desk.tidemark(&[&import[..], &[file, "--yes"]].concat()).await;

        assert_eq!(refused.code, 2, "{file}: {}", refused.err);
        assert!(refused.err.contains(says), "{file}: {}", refused.err);
        assert!(!refused.err.contains("the-secret"), "{file}: {}", refused.err);
        assert_eq!(desk.listed().await, after_name, "{file}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_publication_goes_on_with_the_state_that_was_moved() {
    let desk = Desk::new().await;
    desk.tidemark(&["run"]).await;
    desk.configure(&desk.usual("").replace("district-to-state:", "upward:"));

    let orphaned = desk.listed().await;
    let blocked = desk.tidemark(&["run"]).await;
    let nowhere = desk.tidemark(&["state", "move", "district-to-state", "sideways"]).await;
    let moved = desk.tidemark(&["state", "move", "district-to-state", "upward"]).await;
    let again = desk.tidemark(&["state", "move", "district-to-state", "upward"]).await;
    put(&desk.source, "students", &district::student("S-704"));
    let run = desk.tidemark(&["run", "--output", "json"]).await;
    let listed = desk.listed().await;

    assert_eq!(orphaned[0]["state"], "orphaned");
    assert_eq!(blocked.code, 1, "{}", blocked.out);
    assert!(blocked.out.contains("state move district-to-state upward"), "{}", blocked.out);
    assert_eq!((nowhere.code, moved.code, again.code), (2, 0, 2), "{}{}", nowhere.err, moved.err);
    assert!(again.err.contains("has no state"), "{}", again.err);
    assert_eq!(run.json()["runs"][0]["stages"]["upserts"]["applied"], 1, "{}", run.out);
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!(
        (&listed[0]["publication"], &listed[0]["state"]),
        (&json!("upward"), &json!("configured"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_pair_between_the_ends_of_an_orphan_waits_until_a_person_decides() {
    for (case, words) in [
        (
            "start over",
            &["approve", "identity", "upward", "--start-over", "--reason", "x", "--yes"][..],
        ),
        ("the orphan is forgotten", &["state", "forget", "district-to-state", "--yes"]),
    ] {
        let desk = Desk::new().await;
        desk.tidemark(&["run"]).await;
        desk.configure(&desk.usual("").replace("district-to-state:", "upward:"));
        desk.target.clear_requests();

        let blocked = desk.tidemark(&["run"]).await;
        let writes = desk.target.requests().iter().filter(|request| request.is_write()).count();
        let status = desk.tidemark(&["status", "--output", "json"]).await;
        let decided = desk.tidemark(words).await;
        let run = desk.tidemark(&["run", "--output", "json"]).await;

        assert_eq!((blocked.code, writes), (1, 0), "{case}: {}", blocked.out);
        let pairs = status.json()["pairs"].clone();
        let upward = pairs.as_array().unwrap().iter().find(|pair| pair["publication"] == "upward");
        assert_eq!(upward.unwrap()["state"], "blocked", "{case}: {pairs}");
        assert_eq!(decided.code, 0, "{case}: {}", decided.err);
        assert_eq!(run.json()["runs"][0]["outcome"], "complete", "{case}: {}", run.out);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_is_not_moved_over_another() {
    let desk = Desk::new().await;
    desk.tidemark(&["run"]).await;
    desk.configure(&desk.usual("").replace("district-to-state:", "upward:"));
    desk.tidemark(&["watermark", "set", "upward", "--to", "1", "--yes", "--reason", "x"]).await;
    let before = desk.listed().await;

    let refused = desk.tidemark(&["state", "move", "district-to-state", "upward"]).await;

    assert_eq!(refused.code, 2);
    assert!(refused.err.contains("upward → state has state already"), "{}", refused.err);
    assert_eq!(desk.listed().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orphan_is_forgotten_with_a_yes_and_a_configured_pair_with_a_reason_too() {
    let desk = Desk::new().await;
    desk.tidemark(&["run"]).await;
    let forget = ["state", "forget", "district-to-state/state"];

    let unexplained = desk.tidemark(&[&forget[..], &["--yes"]].concat()).await;
    desk.configure(&desk.usual("").replace("district-to-state:", "upward:"));
    let unsure = desk.tidemark(&forget).await;
    let other_target = desk.tidemark(&["state", "forget", "district-to-state/x", "--yes"]).await;
    let kept = desk.listed().await;
    let forgotten = desk.tidemark(&[&forget[..], &["--yes"]].concat()).await;

    assert_eq!((unexplained.code, unsure.code, other_target.code), (2, 2, 2));
    assert!(unexplained.err.contains("--reason"), "{}", unexplained.err);
    assert!(unsure.err.contains("--yes"), "{}", unsure.err);
    assert_eq!(kept.as_array().unwrap().len(), 1);
    assert_eq!(forgotten.code, 0, "{}", forgotten.err);
    assert_eq!(desk.listed().await, json!([]));
}
