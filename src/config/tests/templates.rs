//! Claims about templates, limits and what comes of 600 districts.

use super::*;

const TEMPLATE: &str = "\
templates:
  district:
    for_each: {file: districts.csv}
    connections:
      \"${id}\": {kind: ed-fi, url: \"${url}\", scope: \"${scope}\", key: {env: K}, secret: {env: S}}
    publications:
      \"${id}-to-state\":
        source: \"${id}\"
        targets: [state]
        labels: {district: \"${id}\", tier: \"${tier}\"}
        shared: [people]
        sole_writer: false
connections:
  state: {kind: ed-fi, url: https://state.example, key: {env: K}, secret: {env: S}}
";

const ROWS: &str = "\
id, url, scope, tier
00123,https://a.example,,one
1e5,https://b.example/data,255901,
";

fn with_rows(rows: &str) -> Written {
    Written::files(&[("t.yaml", TEMPLATE), ("districts.csv", rows)])
}

#[test]
fn a_template_makes_an_entry_for_each_row_and_text_stays_text() {
    let loaded = with_rows(ROWS).load(&[]).unwrap();

    let config = loaded.config;
    let names: Vec<&str> = config.connections.keys().map(ConnectionName::as_str).collect();
    assert_eq!(names, ["00123", "1e5", "state"]);
    assert_eq!(config.connections["1e5"].scope.as_deref(), Some("255901"));
    assert_eq!(config.connections["00123"].scope, None, "an empty cell is left out");
    let publication = &config.publications["1e5-to-state"];
    assert_eq!(publication.source.as_str(), "1e5");
    assert_eq!(publication.labels, variables(&[("district", "1e5")]));
    assert_eq!(config.publications["00123-to-state"].labels["tier"], "one");
    assert_eq!(loaded.files.len(), 2, "the rows are watched too");
}

#[test]
fn a_list_in_the_file_does_for_rows_and_may_leave_cells_out() {
    let rows =
        "[{id: a, url: https://a.example, tier: one}, {id: b, url: https://b.example, scope: 1}]";
    let text = TEMPLATE.replace("{file: districts.csv}", rows);

    let config = config_of(&text);

    assert_eq!(config.publications.len(), 2);
    assert_eq!(config.connections["b"].scope.as_deref(), Some("1"));
}

#[test]
fn defaults_lie_under_what_a_template_makes_and_variables_over_it() {
    let text = format!("{TEMPLATE}defaults: {{publication: {{every: 30s, page_size: 7}}}}\n");
    let written = Written::files(&[("t.yaml", &text), ("districts.csv", ROWS)]);

    let config =
        written.load(&[("TIDEMARK__PUBLICATIONS__1E5_TO_STATE__PAGE_SIZE", "9")]).unwrap().config;

    assert_eq!(config.publications["00123-to-state"].page_size, 7);
    assert_eq!(config.publications["1e5-to-state"].page_size, 9);
    assert_eq!(
        config.publications["1e5-to-state"].trigger,
        Trigger::Every(Duration::from_secs(30))
    );
}

#[test]
fn a_mistake_in_a_row_names_the_row_and_one_of_the_template_is_told_once() {
    let text = TEMPLATE.replace("targets: [state]", "targets: [stat]\n        page_size: many");
    let rows =
        "id,url,scope,tier\na,ftp://a.example,,\nB,https://b.example,,\na,https://c.example,,\n";
    let written = Written::files(&[("t.yaml", &text), ("districts.csv", rows)]);

    assert_eq!(
        written.mistakes(&[]),
        "\
t.yaml:5:7 (template `district`, row districts.csv:3): connections.B: a name is lower-case letters, digits and `-`: rename it
t.yaml:5:7 (template `district`, row districts.csv:4): connections.a: defined twice; it is first defined at t.yaml:5:7 (template `district`, row districts.csv:2)
t.yaml:5:35 (template `district`, row districts.csv:2): connections.a.url: not an http address: write it as https://host/path
t.yaml:7:7 (template `district`, row districts.csv:3): publications.B-to-state: a name is lower-case letters, digits and `-`: rename it
t.yaml:7:7 (template `district`, row districts.csv:4): publications.a-to-state: defined twice; it is first defined at t.yaml:7:7 (template `district`, row districts.csv:2)
t.yaml:8:17 (template `district`, row districts.csv:3): publications.B-to-state.source: `B` is not the name of a connection: a name is lower-case letters, digits and `-`
t.yaml:9:19 (template `district`, row districts.csv:2): publications.a-to-state.targets[0]: no connection is called `stat`; did you mean `state`? (and for 1 more row)
t.yaml:10:20 (template `district`, row districts.csv:2): publications.a-to-state.page_size: `many` is not a whole number: write it in digits, such as 500 (and for 1 more row)"
    );
}

#[test]
fn every_mistake_of_a_template_has_its_report() {
    for (template, rows, report) in [
        (
            TEMPLATE.replace("${tier}", "${teir}").replace("\"${id}\": ", "\"${id\": "),
            ROWS,
            "t.yaml:5:7: templates.district.connections.${id: a `${` without its `}`: write `${column}`\n\
             t.yaml:10:43: templates.district.publications.${id}-to-state.labels.tier: no row has a column `teir`; did you mean `tier`?",
        ),
        (
            TEMPLATE.replace("for_each", "foreach"),
            ROWS,
            "t.yaml:2:3: templates.district: `for_each` is missing: name the rows\n\
             t.yaml:3:5: templates.district.foreach: unknown key; did you mean `for_each`?",
        ),
        (
            TEMPLATE.replace("districts.csv", "none.csv"),
            ROWS,
            "t.yaml:3:22: templates.district.for_each: none.csv: cannot be read: No such file or directory (os error 2)",
        ),
        (
            TEMPLATE.to_owned(),
            "id;url;scope;tier\n",
            "districts.csv:1:1: templates.district.for_each: save it with commas between the columns",
        ),
        (
            TEMPLATE.to_owned(),
            "id,url,scope,tier\na,b\n",
            "districts.csv:2:1: templates.district.for_each: this row has 2 cells and the header 4: put a cell that holds a comma in quotes",
        ),
        (
            TEMPLATE.to_owned(),
            "id,url,id\n",
            "districts.csv:1:1: templates.district.for_each: two columns are called `id`",
        ),
        (
            TEMPLATE.replace("{file: districts.csv}", "[{id: [a]}, b]"),
            ROWS,
            "t.yaml:3:17: templates.district.for_each[0]: `id` of a row must be a single value\n\
             t.yaml:3:27: templates.district.for_each[1]: a row is written as `{column: value, …}`",
        ),
        (
            TEMPLATE.replace("  district:\n    for_each", "  district: 3\n  other:\n    for_each"),
            "id,url,scope,tier\n",
            "t.yaml:2:3: templates.district: `for_each`, `connections` and `publications` are due here",
        ),
    ] {
        let written = Written::files(&[("t.yaml", &template), ("districts.csv", rows)]);

        assert_eq!(written.mistakes(&[]), report, "of\n{template}");
    }
}

#[test]
fn a_template_without_rows_is_doubted() {
    let warnings = with_rows("id,url,scope,tier\n").warnings();

    assert!(warnings.contains("t.yaml:2:3: templates.district: makes nothing: there is no row"));
}

#[test]
fn a_connection_names_a_limit_that_there_is() {
    let limits = "limits: {state-ods: {max_concurrency: 256, max_requests_per_second: 400}}\n";
    let right = format!("{limits}{}", pair("limit: state-ods", ""));
    let wrong = format!("{limits}{}", pair("limit: stat-ods", ""));

    let config = config_of(&right);

    let limit = district(&config).limit.clone().unwrap();
    assert_eq!(
        config.limits[&limit],
        LimitConfig { max_concurrency: Some(256), max_requests_per_second: Some(400) }
    );
    assert_eq!(
        one_file(&wrong).mistakes(&[]),
        "t.yaml:8:12: connections.district.limit: no limit is called `stat-ods`; did you mean \
         `state-ods`?"
    );
}

#[test]
fn a_connection_without_secrets_of_its_own_reads_those_of_the_directory() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("district-key"), "the key\n").unwrap();
    let text = format!(
        "state: {{secrets_dir: \"{}\"}}\n{}",
        folder.path().display(),
        pair("", "").replace("    key: {env: K}\n    secret: {env: S}\n", "")
    );

    let config = config_of(&text);

    use secrecy::ExposeSecret;
    let env = BTreeMap::new();
    assert_eq!(district(&config).key.read(&env).unwrap().expose_secret(), "the key");
    assert!(district(&config).secret.read(&env).is_err());
    assert!(one_file(&text.replacen("secrets_dir", "# ", 1)).mistakes(&[]) != "no mistake");
}

#[test]
fn publications_that_would_own_the_same_at_one_target_are_doubted_once() {
    let each = TEMPLATE.replace("        sole_writer: false\n", "");
    let doubted = Written::files(&[("t.yaml", &each), ("districts.csv", ROWS)]);
    let lists = "resources: {include_only: [students]}\n        shared: [/ed-fi/students]";
    let shared = each.replace("shared: [people]", lists);
    let agreed = Written::files(&[("t.yaml", &shared), ("districts.csv", ROWS)]);

    assert_eq!(
        doubted.warnings(),
        "t.yaml:9:9 (template `district`, row districts.csv:2): publications.00123-to-state.targets: \
         `00123-to-state` and `1e5-to-state` each rename and delete at `state`, and their resources \
         may be the same: list what they have in common under `shared` or `create_only`, or write \
         `sole_writer: false` where that is meant"
    );
    assert_eq!(agreed.warnings(), "");
    assert_eq!(with_rows(ROWS).warnings(), "");
}
