//! Claims about mistakes: each is told with its key path, its place and what to do.

use super::*;

#[test]
fn every_mistake_of_a_file_is_told_at_once() {
    let text = "\
state:
  store: postgress
  path: [data]
servr: {}
connections:
  district:
    kind: ed-fi
    url: api.district.example
    key: {evn: DISTRICT_KEY}
    timout: 30s
    max_concurrency: lots
  State: {kind: ed-fi, url: https://s.example, key: {env: K}, secret: {env: S}}
publications:
  nightly:
    source: distrct
    targets: [district, district]
    schedule: 0 0 0 31 2 *
    spread: wide
    time_zone: America/New York
";

    assert_eq!(
        one_file(text).mistakes(&[]),
        "\
t.yaml:2:10: state.store: unknown: `postgress`; write `sled`
t.yaml:3:9: state.path: a single value is due here, not a list, a mapping or nothing
t.yaml:4:1: servr: unknown section; did you mean `server`?
t.yaml:6:3: connections.district.secret: missing: add it
t.yaml:8:10: connections.district.url: not an address (relative URL without a base): write it as https://host/path
t.yaml:9:16: connections.district.key: a secret is a text in quotes, `{env: NAME}` or `{file: PATH}`
t.yaml:10:5: connections.district.timout: unknown key; did you mean `timeout`?
t.yaml:11:22: connections.district.max_concurrency: `lots` is not a whole number: write it in digits, such as 500
t.yaml:12:3: connections.State: a name is lower-case letters, digits and `-`: rename it
t.yaml:15:13: publications.nightly.source: no connection is called `distrct`; did you mean `district`?
t.yaml:16:25: publications.nightly.targets[1]: `district` is named twice: remove one
t.yaml:17:15: publications.nightly.schedule: this schedule never fires: there is no such date
t.yaml:18:13: publications.nightly.spread: `wide` is not a duration: write it with its unit, such as 30s or 15m
t.yaml:19:16: publications.nightly.time_zone: unknown time zone `America/New York`; did you mean `America/New_York`?"
    );
}

#[test]
fn every_mistake_in_a_file_has_its_report() {
    for (text, report) in FILES {
        assert_eq!(one_file(text).mistakes(&[]), *report, "of\n{text}");
    }
}

#[test]
fn every_mistake_in_an_entry_has_its_report() {
    for (district, nightly, report) in ENTRIES {
        assert_eq!(
            one_file(&pair(district, nightly)).mistakes(&[]),
            *report,
            "of {district}{nightly}"
        );
    }
}

#[test]
fn what_asks_for_nothing_is_not_refused() {
    let text = pair(
        "closed: []",
        "spread: 0s, deadline: 0s, after: [], shared: [], create_only: [],
     first_run: full, verify: {schedule: null, content: false}",
    );

    assert_eq!(one_file(&text).mistakes(&[]), "no mistake");
}

#[test]
fn a_configuration_that_cannot_be_read_says_so() {
    let nothing = Written::files(&[]);
    let binary = Written::files(&[]);
    std::fs::write(binary.directory.path().join("a.yaml"), [0xff, 0xfe]).unwrap();

    let missing = load(&nothing.directory.path().join("none.yaml"), &BTreeMap::new());

    assert_eq!(
        nothing.relative(&missing.unwrap_err().to_string()),
        "cannot read the configuration none.yaml: No such file or directory (os error 2)"
    );
    assert_eq!(nothing.mistakes(&[]), "the directory DIR holds no file that ends in .yaml");
    assert_eq!(binary.mistakes(&[]), "a.yaml:1:1: not UTF-8 text: save it as UTF-8");
}

#[test]
fn a_file_that_nests_too_deep_is_a_mistake() {
    let deep = format!("connections: {}{}", "{a: ".repeat(100), "}".repeat(100));

    assert!(one_file(&deep).mistakes(&[]).contains("nested deeper than 64 levels"));
}

#[test]
fn a_configuration_without_a_publication_is_doubted() {
    assert_eq!(
        one_file("").warnings(),
        "no publication is configured: there is nothing to publish"
    );
}

#[test]
fn six_hundred_unknown_names_do_not_list_six_hundred_known_ones() {
    let entry = |n| {
        format!(
            "  d{n}: {{kind: ed-fi, url: https://d.example, key: {{env: K}}, secret: {{env: S}}}}\n"
        )
    };
    let connections: String = (0..600).map(entry).collect();
    let text = format!(
        "connections:\n{connections}publications: {{p: {{source: nowhere, targets: [d1]}}}}"
    );

    assert_eq!(
        one_file(&text).mistakes(&[]),
        "t.yaml:602:28: publications.p.source: no connection is called `nowhere`"
    );
}

proptest::proptest! {
    /// What a person types by mistake is a report or a configuration, never a panic.
    #[test]
    fn no_edit_of_a_file_makes_the_reader_panic(
        cut in 0usize..4000,
        length in 0usize..40,
        typed in "[-a-z0 \\[\\]{}:,\"'&*!|>%@`?#\t\n\u{e9}]{0,12}",
    ) {
        let mut text: Vec<char> = example().chars().collect();
        let start = cut.min(text.len());
        let end = (start + length).min(text.len());
        text.splice(start..end, typed.chars());
        let text: String = text.into_iter().collect();

        let mut problems = Vec::new();
        if let Ok(document) = yaml::read("t.yaml", &text, &mut problems) {
            let tree = stack([Layer::from(document.clone())]);
            let mut report = Report::new(&document.keys);
            let decoded = entries::decode(&mut report, &tree);
            check::references(&decoded, &mut report);
            check::doubts(&decoded.config, &mut report);
        }
    }
}

/// Whole files and their reports.
const FILES: &[(&str, &str)] = &[
    (
        "connections: [",
        "t.yaml:2:1: connections: not valid YAML: while parsing a node, did not find expected node content",
    ),
    (
        "\
a: 1
a: 2",
        "\
t.yaml:1:1: a: unknown section; known here: connections, defaults, limits, publications, server, state, telemetry, templates
t.yaml:2:1: a: written twice; it is first written at t.yaml:1:1",
    ),
    (
        "\
connections:
\tdistrict: 1",
        "t.yaml:2:2: connections: not valid YAML: tabs disallowed within this context (block indentation)",
    ),
    (
        "\
state: {path: a}
---
state: {path: b}",
        "t.yaml:2:1: a second document; one file holds one: remove the `---`",
    ),
    (
        "\
- a
- b",
        "t.yaml:1:1: the file must hold sections such as `connections:` and `publications:`",
    ),
    (
        "conections: {}",
        "t.yaml:1:1: conections: unknown section; did you mean `connections`?",
    ),
    (
        "\
state:
  path: a
  path: b",
        "t.yaml:3:3: state.path: written twice; it is first written at t.yaml:2:3",
    ),
    (
        "\
? [a]
: b",
        "t.yaml:1:3: a key must be a plain text",
    ),
    (
        "publications: {Nightly: {source: a_b, targets: [x]}, other: }",
        "\
t.yaml:1:16: publications.Nightly: a name is lower-case letters, digits and `-`: rename it
t.yaml:1:34: publications.Nightly.source: `a_b` is not the name of a connection: a name is lower-case letters, digits and `-`
t.yaml:1:49: publications.Nightly.targets[0]: no connection is called `x`
t.yaml:1:54: publications.other.source: missing: add it
t.yaml:1:54: publications.other.targets: missing: add it",
    ),
    (
        "\
connections: [a]
publications: 3",
        "\
t.yaml:1:14: connections: keys with values are due here: write `key: value` on the lines below
t.yaml:2:15: publications: keys with values are due here: write `key: value` on the lines below",
    ),
    (
        "\
a.b: 1
c[0]: 2",
        "\
t.yaml:1:1: a.b: unknown section; known here: connections, defaults, limits, publications, server, state, telemetry, templates
t.yaml:2:1: c[0]: unknown section; known here: connections, defaults, limits, publications, server, state, telemetry, templates",
    ),
    (
        "\
state: 5
server: {listen: [a]}",
        "\
t.yaml:1:8: state: keys with values are due here: write `key: value` on the lines below
t.yaml:2:18: server.listen: a single value is due here, not a list, a mapping or nothing",
    ),
    (
        "\
publications:
  nightly:
    source: x
    schedule: \"0 0
",
        "t.yaml:4:15: publications.nightly.schedule: not valid YAML: while scanning a quoted scalar, found unexpected end of stream",
    ),
    (
        "\
connections: {a: {kind: ed-fi, url: https://a, key: {env: K}, secret: {env: S}}}
publications: {p: {source: a, targets: [a, b, b]}, q: {source: aa, targets: []}, r: {targets: a}}",
        "\
t.yaml:2:41: publications.p.targets[0]: `a` is the source: name another target
t.yaml:2:44: publications.p.targets[1]: no connection is called `b`; known here: a
t.yaml:2:47: publications.p.targets[2]: no connection is called `b`; known here: a
t.yaml:2:47: publications.p.targets[2]: `b` is named twice: remove one
t.yaml:2:64: publications.q.source: no connection is called `aa`; known here: a
t.yaml:2:68: publications.q.targets: no target: name at least one connection
t.yaml:2:82: publications.r.source: missing: add it
t.yaml:2:95: publications.r.targets: a list is due here: write it as `[one, two]`",
    ),
    (
        "\
limits: {a: {max_concurrency: 3}}
templates: {district: {}}
limits2: {}",
        "\
t.yaml:2:13: templates.district: `for_each` is missing: name the rows
t.yaml:3:1: limits2: unknown section; did you mean `limits`?",
    ),
    (
        "state: {store: postgres, audit_for: 0s, secrets_dir: /x}",
        "\
t.yaml:1:16: state.store: not in this version: `postgres`; write `sled`
t.yaml:1:37: state.audit_for: must be longer than 0s",
    ),
    (
        "state: {backup: {every: 500ms, keep: 0, path: '', to: x}}",
        "\
t.yaml:1:25: state.backup.every: must be at least 1s, or 0s to switch it off
t.yaml:1:38: state.backup.keep: must be at least 1
t.yaml:1:47: state.backup.path: empty: write a path
t.yaml:1:51: state.backup.to: unknown key; known here: every, keep, path",
    ),
    (
        "\
state: {store: sledd}
server: {listen: 8642, max_running: 0, metrics_listen: 1, tls: {certificate: a}}",
        "\
t.yaml:1:16: state.store: unknown: `sledd`; did you mean `sled`?
t.yaml:2:18: server.listen: `8642` is not an address with a port: write it as 127.0.0.1:8642
t.yaml:2:37: server.max_running: must be at least 1
t.yaml:2:56: server.metrics_listen: `1` is not an address with a port: write it as 127.0.0.1:8642
t.yaml:2:59: server.tls.key: missing: add it",
    ),
    (
        "\
server:
  tokens:
    - {name: a, role: reader, token: {env: A}}
    - {name: a, labels: x}
    - {name: admin, role: admin, token: {env: A}, until: 2030}",
        "\
t.yaml:2:3: server.tokens[1].role: missing: add it
t.yaml:2:3: server.tokens[1].token: missing: add it
t.yaml:3:23: server.tokens[0].role: unknown: `reader`; write `viewer`, `operator` or `admin`
t.yaml:4:14: server.tokens[1].name: another token is called `a`: rename one of them
t.yaml:4:25: server.tokens[1].labels: keys with values are due here: write `key: value` on the \
         lines below
t.yaml:5:14: server.tokens[2].name: another token is called `admin`: rename one of them
t.yaml:5:51: server.tokens[2].until: unknown key; known here: labels, name, role, token",
    ),
    (
        "connections: {a: {kind: graph}, b: {kind: edfi, url: x, key: k, secret: s}, c: {}}",
        "\
t.yaml:1:15: connections.a.url: missing: add it
t.yaml:1:15: connections.a.key: missing: add it
t.yaml:1:15: connections.a.secret: missing: add it
t.yaml:1:25: connections.a.kind: not in this version: `graph`; write `ed-fi`
t.yaml:1:43: connections.b.kind: unknown: `edfi`; did you mean `ed-fi`?
t.yaml:1:54: connections.b.url: not an address (relative URL without a base): write it as https://host/path
t.yaml:1:77: connections.c.kind: missing: add it
t.yaml:1:77: connections.c.url: missing: add it
t.yaml:1:77: connections.c.key: missing: add it
t.yaml:1:77: connections.c.secret: missing: add it",
    ),
];

/// What the connection and the publication of [`pair`] have more than they need, and the report.
const ENTRIES: &[(&str, &str, &str)] = &[
    (
        "timout: 3s",
        "",
        "t.yaml:7:5: connections.district.timout: unknown key; did you mean `timeout`?",
    ),
    (
        "timeout: 60",
        "",
        "t.yaml:7:14: connections.district.timeout: `60` is not a duration: write it with its unit, such as 30s or 15m",
    ),
    (
        "timeout: 0s",
        "",
        "t.yaml:7:14: connections.district.timeout: must be longer than 0s",
    ),
    (
        "timeout: [3s]",
        "",
        "t.yaml:7:14: connections.district.timeout: a single value is due here, not a list, a mapping or nothing",
    ),
    (
        "max_concurrency: 0",
        "",
        "t.yaml:7:22: connections.district.max_concurrency: must be at least 1",
    ),
    (
        "max_concurrency: 1e5",
        "",
        "t.yaml:7:22: connections.district.max_concurrency: `1e5` is not a whole number: write it in digits, such as 500",
    ),
    (
        "max_requests_per_second: -1",
        "",
        "t.yaml:7:30: connections.district.max_requests_per_second: `-1` is not a whole number: write it in digits, such as 500",
    ),
    (
        "school_year: 26",
        "",
        "t.yaml:7:18: connections.district.school_year: `26` is not a school year: write four digits",
    ),
    (
        "instance: a",
        "",
        "t.yaml:7:15: connections.district.instance: `instance` goes with `school_year`: add it",
    ),
    (
        "closed: [{cron: 0 0 0 * * *}, {cron: at noon, for: 0s, zone: UTC}]",
        "",
        "\
t.yaml:7:5: connections.district.closed[0].for: missing: add it
t.yaml:7:42: connections.district.closed[1].cron: a schedule has six fields (second minute hour day month weekday), this has 2; every 15 minutes is \"0 */15 * * * *\"
t.yaml:7:56: connections.district.closed[1].for: must be at least 1s
t.yaml:7:60: connections.district.closed[1].zone: unknown key; known here: cron, for, time_zone",
    ),
    (
        "limit: state-ods",
        "",
        "t.yaml:7:12: connections.district.limit: no limit is called `state-ods`",
    ),
    (
        "token_url: ftp://x",
        "",
        "t.yaml:7:16: connections.district.token_url: not an http address: write it as https://host/path",
    ),
    (
        "token_url: https://x/?a=b",
        "",
        "t.yaml:7:16: connections.district.token_url: an address has no `?` or `#` part: remove it",
    ),
    (
        "scope: ''",
        "",
        "t.yaml:7:12: connections.district.scope: empty: write a text or remove the key",
    ),
    (
        "",
        "schedule: '0 0 0 30 2 *'",
        "t.yaml:12:15: publications.nightly.schedule: this schedule never fires: there is no such date",
    ),
    (
        "",
        "schedule: '*/15 * * * *'",
        "t.yaml:12:15: publications.nightly.schedule: a schedule has six fields (second minute hour day month weekday), this has 5; every 15 minutes is \"0 */15 * * * *\"",
    ),
    (
        "",
        "schedule: '0 0 25 * * *'",
        "t.yaml:12:15: publications.nightly.schedule: not a schedule: number out of bounds",
    ),
    (
        "",
        "schedule: '@daily'",
        "t.yaml:12:15: publications.nightly.schedule: a schedule has six fields (second minute hour day month weekday), this has 1; every 15 minutes is \"0 */15 * * * *\"",
    ),
    (
        "",
        "schedule: '0 0 0 * * *', every: 3s",
        "t.yaml:12:37: publications.nightly.every: given beside `schedule`: keep one of the two",
    ),
    (
        "",
        "every: 10ms",
        "t.yaml:12:12: publications.nightly.every: must be at least 1s",
    ),
    (
        "",
        "time_zone: America/Chicaog",
        "t.yaml:12:16: publications.nightly.time_zone: unknown time zone `America/Chicaog`; did you mean `America/Chicago`?",
    ),
    (
        "",
        "time_zone: Mars",
        "t.yaml:12:16: publications.nightly.time_zone: unknown time zone `Mars`: write it as America/Chicago",
    ),
    (
        "",
        "isolation: opened",
        "t.yaml:12:16: publications.nightly.isolation: unknown: `opened`; did you mean `open`?",
    ),
    (
        "",
        "isolation: snapshots",
        "t.yaml:12:16: publications.nightly.isolation: unknown: `snapshots`; did you mean `snapshot`?",
    ),
    (
        "",
        "on_missing_snapshot: snapshot",
        "t.yaml:12:26: publications.nightly.on_missing_snapshot: unknown: `snapshot`; write `fail`, `bounded`, `open` or `combined`",
    ),
    (
        "",
        "first_overlap_versions: some",
        "t.yaml:12:29: publications.nightly.first_overlap_versions: `some` is not a whole number: write it in digits, such as 500, or `all`",
    ),
    (
        "",
        "first_run: later",
        "t.yaml:12:16: publications.nightly.first_run: unknown: `later`; write `full`, `from-now` or `refuse`",
    ),
    (
        "",
        "verify: {schedule: daily, content: maybe}, after: [nightly, weekly]",
        "\
t.yaml:12:24: publications.nightly.verify.schedule: a schedule has six fields (second minute hour day month weekday), this has 1; every 15 minutes is \"0 */15 * * * *\"
t.yaml:12:40: publications.nightly.verify.content: `maybe` is neither `true` nor `false`
t.yaml:12:56: publications.nightly.after[0]: `nightly` waits for `nightly` in its turn: neither would ever run
t.yaml:12:65: publications.nightly.after[1]: no publication is called `weekly`; known here: nightly",
    ),
    (
        "",
        "deletes: no",
        "t.yaml:12:14: publications.nightly.deletes: unknown: `no`; write `publish` or `skip`",
    ),
    (
        "",
        "max_deletes: 110%",
        "t.yaml:12:18: publications.nightly.max_deletes: `110%` is not a share from 0% to 100%: write it as 10%",
    ),
    (
        "",
        "max_deletes: 10",
        "t.yaml:12:18: publications.nightly.max_deletes: `10` is not a share from 0% to 100%: write it as 10%",
    ),
    (
        "",
        "sole_writer: yes",
        "t.yaml:12:18: publications.nightly.sole_writer: unknown: `yes`; write `auto`, `true` or `false`",
    ),
    (
        "",
        "page_size: 0",
        "t.yaml:12:16: publications.nightly.page_size: must be at least 1",
    ),
    (
        "",
        "page_size: 0x10",
        "t.yaml:12:16: publications.nightly.page_size: `0x10` is not a whole number: write it in digits, such as 500",
    ),
    (
        "",
        "page_size: 500.0",
        "t.yaml:12:16: publications.nightly.page_size: `500.0` is not a whole number: write it in digits, such as 500",
    ),
    (
        "",
        "page_size: 99999999999",
        "t.yaml:12:16: publications.nightly.page_size: `99999999999` is too large: write a smaller number",
    ),
    (
        "",
        "labels: {a: null, b: [x]}",
        "\
t.yaml:12:17: publications.nightly.labels.a: a text is due here: put it in quotes
t.yaml:12:26: publications.nightly.labels.b: a single value is due here, not a list, a mapping or nothing",
    ),
    (
        "",
        "resources: {descriptors: no}",
        "t.yaml:12:30: publications.nightly.resources.descriptors: `no` is neither `true` nor `false`",
    ),
    (
        "",
        "resources: {include: students}",
        "t.yaml:12:26: publications.nightly.resources.include: a list is due here: write it as `[one, two]`",
    ),
    (
        "",
        "resources: {include: [/students, 'stu dents', [a]]}",
        "\
t.yaml:12:27: publications.nightly.resources.include[0]: `/students` is not a resource: write `students` or `/tpdm/candidates`
t.yaml:12:38: publications.nightly.resources.include[1]: `stu dents` is not a resource: write `students` or `/tpdm/candidates`
t.yaml:12:51: publications.nightly.resources.include[2]: a single value is due here, not a list, a mapping or nothing",
    ),
    (
        "",
        "resources: {includes: []}",
        "t.yaml:12:17: publications.nightly.resources.includes: unknown key; did you mean `include`?",
    ),
    (
        "",
        "retry: {first_delay: 2h, max_delay: 1h}",
        "t.yaml:12:41: publications.nightly.retry.max_delay: shorter than `first_delay`: make it longer",
    ),
    (
        "",
        "retry: {max_attempts: 0}",
        "t.yaml:12:27: publications.nightly.retry.max_attempts: must be at least 1",
    ),
    (
        "",
        "retry: []",
        "t.yaml:12:12: publications.nightly.retry: keys with values are due here: write `key: value` on the lines below",
    ),
    (
        "",
        "interval: 30s",
        "t.yaml:12:5: publications.nightly.interval: unknown key; known here: after, create_only, deadline, deletes, every, first_overlap_versions, first_run, isolation, key_changes, labels, max_deletes, max_deletes_above, on_missing_snapshot, overlap, page_size, resources, retry, schedule, shared, sole_writer, source, spread, targets, time_zone, verify",
    ),
];

#[test]
fn an_address_in_the_clear_is_doubted_beyond_private_networks() {
    for (host, doubted) in [
        ("api.district.example", true),
        ("192.0.2.7:8001", true),
        ("[2001:db8::1]", true),
        ("localhost:8001", false),
        ("127.0.0.1", false),
        ("[::1]:8001", false),
        ("10.1.2.3", false),
        ("[fd00::1]", false),
        ("ods", false),
        ("ods.district.svc.cluster.local", false),
        ("ods.internal.", false),
    ] {
        let text = pair("", "").replace("https://district.example", &format!("http://{host}"));

        let warnings = one_file(&text).warnings();

        assert_eq!(warnings.contains("sent in the clear"), doubted, "{host}: {warnings}");
        assert_eq!(warnings.contains("connections.district.url"), doubted, "{host}: {warnings}");
    }
}

#[test]
fn a_connection_shows_a_certificate_only_with_its_key() {
    let authority = pair("tls: {authorities: ca.pem}", "");
    let both = pair("tls: {certificate: a.pem, key: b.pem}", "");
    let connection = |text: &str| {
        let config = one_file(text).load(&[]).unwrap().config;
        config.connections.get("district").unwrap().tls.clone()
    };

    assert_eq!(connection(&authority).authorities, Some("ca.pem".into()));
    assert_eq!(connection(&authority).shown, None);
    let shown = connection(&both).shown.unwrap();
    assert_eq!((shown.certificate, shown.key), ("a.pem".into(), "b.pem".into()));
    let mistakes = one_file(&pair("tls: {certificate: a.pem}", "")).mistakes(&[]);
    assert!(mistakes.ends_with("connections.district.tls.key: missing: add it"), "{mistakes}");
}
