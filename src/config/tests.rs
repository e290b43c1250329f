//! Claims about configurations as a whole; mistakes and secrets have files of their own.

mod mistakes;
mod schema;
mod secrets;
mod shown;
mod templates;

use std::time::Duration;

use super::*;

/// A directory of configuration files.
struct Written {
    directory: tempfile::TempDir,
}

impl Written {
    fn files(files: &[(&str, &str)]) -> Written {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        Written { directory }
    }

    fn load(&self, env: &[(&str, &str)]) -> Result<Loaded, ConfigProblems> {
        load(self.directory.path(), &variables(env))
    }

    /// Every mistake, one a line, with paths relative to the directory.
    fn mistakes(&self, env: &[(&str, &str)]) -> String {
        match self.load(env) {
            Ok(_) => "no mistake".to_owned(),
            Err(problems) => self.relative(&problems.to_string()),
        }
    }

    fn warnings(&self) -> String {
        let warnings = self.load(&[]).unwrap().warnings;
        let lines: Vec<String> = warnings.iter().map(Problem::to_string).collect();
        self.relative(&lines.join("\n"))
    }

    fn relative(&self, text: &str) -> String {
        let directory = self.directory.path().display().to_string();
        text.replace(&format!("{directory}/"), "").replace(&directory, "DIR")
    }
}

fn variables(env: &[(&str, &str)]) -> BTreeMap<String, String> {
    env.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

fn one_file(text: &str) -> Written {
    Written::files(&[("t.yaml", text)])
}

/// A configuration with one publication. What the connection `district` has beside its required
/// keys begins at line 7, what the publication has at line 12.
fn pair(district: &str, nightly: &str) -> String {
    let line = |text: &str| {
        if text.is_empty() { "    # nothing more".to_owned() } else { format!("    {text}") }
    };
    format!(
        "connections:
  district:
    kind: ed-fi
    url: https://district.example
    key: {{env: K}}
    secret: {{env: S}}
{}
  state: {{kind: ed-fi, url: https://state.example, key: {{env: K}}, secret: {{env: S}}}}
publications:
  nightly:
    {{source: district, targets: [state],
{}
    }}
",
        line(district),
        line(nightly)
    )
}

fn config_of(text: &str) -> Config {
    one_file(text).load(&[]).unwrap().config
}

fn district(config: &Config) -> &ConnectionConfig {
    &config.connections["district"]
}

fn nightly(config: &Config) -> &PublicationConfig {
    &config.publications["nightly"]
}

#[test]
fn the_smallest_configuration_loads_without_a_warning() {
    let loaded = load(Path::new("config/tidemark.yaml"), &BTreeMap::new()).unwrap();

    assert_eq!(loaded.warnings, []);
    assert_eq!(loaded.config.publications.len(), 1);
}

#[test]
fn every_default_in_the_reference_is_true() {
    let required = "
connections:
  district:
    kind: ed-fi
    url: https://api.district.example/7.3
    key: {env: DISTRICT_KEY}
    secret: {file: /run/secrets/district-secret}
  state: {kind: ed-fi, url: https://api.state.example, key: {env: STATE_KEY}, secret: {env: STATE_SECRET}}
publications:
  district-to-state: {source: district, targets: [state]}
";

    let reference = one_file(example()).load(&[]).unwrap();

    assert_eq!(reference.config, config_of(required));
    assert_eq!(reference.warnings, []);
}

#[test]
fn every_key_is_in_the_reference() {
    let mut problems = Vec::new();
    let document = yaml::read("reference.yaml", example(), &mut problems).unwrap();
    let tree = stack([Layer::from(document.clone())]);
    let mut report = Report::new(&document.keys);
    entries::decode(&mut report, &tree);

    let is_form_of_secret = |key: &str| key == "env" || key == "file";
    let is_written_once = |path: &[String]| path[0] != "defaults" && path[1] != "state";
    let mut checked = 0;
    for path in report.known.iter().filter(|path| path.len() == 1 || is_written_once(path)) {
        let key = path.last().unwrap().as_str();
        let is_known = is_form_of_secret(key) || document.keys.contains_key(path);
        assert!(is_known, "{} is not in the reference", yaml::join(path));
        checked += 1;
    }

    assert!(checked > 40, "only {checked} keys were looked for");
    assert_eq!(problems, []);
}

#[test]
fn backups_go_beside_the_state_unless_told_and_not_at_all_when_they_are_switched_off() {
    let day = Duration::from_secs(24 * 60 * 60);
    let at = |path: &str| Some(BackupConfig { every: day, path: path.into(), keep: 14 });
    let weekly = Some(BackupConfig { every: 7 * day, path: "/mnt/kept".into(), keep: 3 });
    for (text, expected) in [
        ("", at("data/state-backups")),
        ("state: {path: /var/lib/tidemark/district}", at("/var/lib/tidemark/district-backups")),
        ("state: {path: ..}", at("../backups")),
        ("state: {backup: {every: 0s, keep: 3}}", None),
        ("state: {backup: {every: 7d, path: /mnt/kept, keep: 3}}", weekly),
    ] {
        let config = config_of(&format!("{text}\n{}", pair("", "")));

        assert_eq!(config.state.backup, expected, "{text}");
    }
}

#[test]
fn text_stays_the_text_that_was_written() {
    let text = pair(
        "scope: 00123",
        "labels: {a: 1e5, b: 0x10, c: no, d: 2026-01-31, e: 'null', f: 1.10, g: 012, h: +1, i: yes,
      j: .5, k: 1_000, l: 0o7, m: true, n: !!str 3, o: 12:30:45}",
    );

    let config = config_of(&text);

    assert_eq!(district(&config).scope.as_deref(), Some("00123"));
    let labels: Vec<&str> = nightly(&config).labels.values().map(String::as_str).collect();
    assert_eq!(
        labels,
        [
            "1e5",
            "0x10",
            "no",
            "2026-01-31",
            "null",
            "1.10",
            "012",
            "+1",
            "yes",
            ".5",
            "1_000",
            "0o7",
            "true",
            "3",
            "12:30:45"
        ]
    );
}

#[test]
fn every_key_of_an_entry_is_read() {
    let text = pair(
        "{token_url: https://login.example/token, scope: 255901, school_year: 2026, instance: a}"
            .trim_matches(['{', '}'])
            .replace(", ", "\n    ")
            .as_str(),
        "labels: {tier: one}, every: 90s, time_zone: America/Chicago, spread: 2h, deadline: 8h,
     verify: {schedule: 0 0 3 * * SUN, content: true}, isolation: bounded,
     on_missing_snapshot: bounded, key_changes: skip, deletes: skip, max_deletes: 0.25%,
     max_deletes_above: 7, sole_writer: true, shared: [people, /tpdm/candidates],
     create_only: [descriptors], page_size: 50, resources: {include: [students],
     include_only: [/tpdm/candidates], exclude: [staffs], exclude_only: [schools],
     descriptors: false}, retry: {max_attempts: 2, first_delay: 5s, max_delay: 1h, max_parked: 9},
     first_run: from-now",
    );

    let config = config_of(&text);

    let connection = district(&config);
    assert_eq!(connection.token_url.as_ref().unwrap().as_str(), "https://login.example/token");
    assert_eq!(connection.scope.as_deref(), Some("255901"));
    assert_eq!((connection.school_year, connection.instance.as_deref()), (Some(2026), Some("a")));
    let publication = nightly(&config);
    assert_eq!(publication.trigger, Trigger::Every(Duration::from_secs(90)));
    assert_eq!(publication.time_zone, chrono_tz::America::Chicago);
    assert_eq!(publication.spread, Duration::from_secs(2 * 3600));
    assert_eq!(publication.deadline, Duration::from_secs(8 * 3600));
    assert_eq!(publication.verify.schedule.as_ref().unwrap().as_str(), "0 0 3 * * SUN");
    assert!(publication.verify.content);
    assert_eq!(publication.isolation, Isolation::Bounded);
    assert_eq!(publication.on_missing_snapshot, OnMissingSnapshot::ReadAs(Isolation::Bounded));
    assert_eq!((publication.key_changes, publication.deletes), (Publish::Skip, Publish::Skip));
    assert_eq!(publication.max_deletes.of(10_000), 25);
    assert_eq!((publication.max_deletes_above, publication.page_size), (7, 50));
    assert_eq!(publication.sole_writer, SoleWriter::Yes);
    assert_eq!(publication.shared, ["people", "/tpdm/candidates"]);
    assert_eq!(publication.create_only, ["descriptors"]);
    assert_eq!((publication.first_run, publication.verify.content), (FirstRun::FromNow, true));
    assert_eq!(
        publication.resources,
        ResourcesConfig {
            include: vec!["students".to_owned()],
            include_only: vec!["/tpdm/candidates".to_owned()],
            exclude: vec!["staffs".to_owned()],
            exclude_only: vec!["schools".to_owned()],
            descriptors: false,
        }
    );
    assert_eq!(
        publication.retry,
        RetryConfig {
            max_attempts: 2,
            first_delay: Duration::from_secs(5),
            max_delay: Duration::from_secs(3600),
            max_parked: 9,
        }
    );
}

#[test]
fn a_variable_overrides_what_the_file_says_and_what_it_leaves_out() {
    let written = one_file(&pair("timeout: 10s", "schedule: '0 0 * * * *', labels: {tier: one}"));

    let config = written
        .load(&[
            ("TIDEMARK__SERVER__LISTEN", "0.0.0.0:1"),
            ("TIDEMARK__STATE__PATH", "00123"),
            ("TIDEMARK__CONNECTIONS__DISTRICT__TIMEOUT", "20s"),
            ("TIDEMARK__CONNECTIONS__DISTRICT__MAX_CONCURRENCY", "3"),
            ("TIDEMARK__PUBLICATIONS__NIGHTLY__LABELS__TIER", "two"),
            ("TIDEMARK__PUBLICATIONS__NIGHTLY__RESOURCES__INCLUDE", "students, staffs"),
            ("TIDEMARK__PUBLICATIONS__NIGHTLY__EVERY", "30s"),
            ("TIDEMARK_CONFIG", "elsewhere"),
            ("PATH", "/bin"),
        ])
        .unwrap()
        .config;

    assert_eq!(config.server.listen.to_string(), "0.0.0.0:1");
    assert_eq!(config.state.path, PathBuf::from("00123"));
    assert_eq!(district(&config).timeout, Duration::from_secs(20));
    assert_eq!(district(&config).max_concurrency, 3);
    assert_eq!(nightly(&config).labels["tier"], "two");
    assert_eq!(nightly(&config).resources.include, ["students", "staffs"]);
    assert_eq!(nightly(&config).trigger, Trigger::Every(Duration::from_secs(30)));
}

#[test]
fn a_hyphen_of_a_name_is_an_underscore_in_a_variable() {
    let text = pair("", "").replace("nightly", "to-the-state");

    let loaded = one_file(&text).load(&[("TIDEMARK__PUBLICATIONS__TO_THE_STATE__PAGE_SIZE", "7")]);

    assert_eq!(loaded.unwrap().config.publications["to-the-state"].page_size, 7);
}

#[test]
fn a_variable_that_names_no_key_is_a_mistake_that_names_the_nearest() {
    let written = one_file(&pair("", ""));

    let mistakes = written.mistakes(&[
        ("TIDEMARK__CONNECTIONS__DISTRCT__TIMEOUT", "20s"),
        ("TIDEMARK__CONNECTIONS__ANOTHER__SECRET", "hunter2"),
        ("TIDEMARK__PUBLICATIONS__NIGHTLY__FIRST_RUN", "refuse"),
        ("TIDEMARK__PUBLICATIONS__NIGHTLY__PAGE_SIZE", "many"),
        ("TIDEMARK__PUBLICATIONS__NIGHTLY__TARGETS", "state,nowhere"),
    ]);

    assert_eq!(
        mistakes,
        "\
TIDEMARK__CONNECTIONS__ANOTHER__SECRET: this variable names no key of the configuration (a variable overrides an entry and never creates one)
TIDEMARK__CONNECTIONS__DISTRCT__TIMEOUT: this variable names no key of the configuration (a variable overrides an entry and never creates one); did you mean `TIDEMARK__CONNECTIONS__DISTRICT__TIMEOUT`?
TIDEMARK__PUBLICATIONS__NIGHTLY__PAGE_SIZE: publications.nightly.page_size: `many` is not a whole number: write it in digits, such as 500
TIDEMARK__PUBLICATIONS__NIGHTLY__TARGETS: publications.nightly.targets: no connection is called `nowhere`; known here: district, state"
    );
}

#[test]
fn the_files_of_a_directory_are_merged_in_order_of_name() {
    let all = pair("", "");
    let (connections, publications) = all.split_at(all.find("publications:").unwrap());
    let written = Written::files(&[
        ("20-publications.yaml", publications),
        ("10-connections.yaml", connections),
        ("30-server.yaml", "server: {max_running: 1, listen: 127.0.0.1:1}"),
        ("40-server.yaml", "server: {max_running: 2}"),
        (".hidden.yaml", "not: read"),
        ("notes.txt", "not: read"),
        ("empty.yaml", "# nothing yet\n"),
    ]);

    let config = written.load(&[]).unwrap().config;

    assert_eq!(config.server.max_running, 2);
    assert_eq!(config.server.listen.port(), 1);
    assert_eq!((config.connections.len(), config.publications.len()), (2, 1));
}

#[test]
fn a_name_that_two_files_define_is_a_mistake_that_names_both_places() {
    let written = Written::files(&[("a.yaml", &pair("", "")), ("b.yaml", &pair("", ""))]);

    assert_eq!(
        written.mistakes(&[]),
        "\
b.yaml:2:3: connections.district: defined twice; it is first defined at a.yaml:2:3
b.yaml:8:3: connections.state: defined twice; it is first defined at a.yaml:8:3
b.yaml:10:3: publications.nightly: defined twice; it is first defined at a.yaml:10:3"
    );
}

#[test]
fn a_file_that_ends_in_yml_is_not_passed_over_in_silence() {
    let written = Written::files(&[("a.yaml", &pair("", "")), ("b.yml", "")]);

    assert_eq!(written.warnings(), "b.yml:1:1: not read: rename it so that it ends in .yaml");
}

#[test]
fn defaults_lie_under_every_entry() {
    let text = format!(
        "{}defaults:
  connection: {{timeout: 5s, key: {{file: /nowhere}}}}
  publication:
    schedule: '0 0 20 * * *'
    labels: {{tier: one, area: north}}
    resources: {{exclude: [staffs, schools], descriptors: false}}
",
        pair(
            "max_concurrency: 9",
            "every: 30s, labels: {tier: two}, resources: {exclude: [students]}"
        )
    );

    let config = config_of(&text);

    assert_eq!(district(&config).timeout, Duration::from_secs(5));
    assert_eq!(district(&config).max_concurrency, 9);
    let publication = nightly(&config);
    assert_eq!(publication.trigger, Trigger::Every(Duration::from_secs(30)));
    assert_eq!(publication.labels, variables(&[("area", "north"), ("tier", "two")]));
    assert_eq!(publication.resources.exclude, ["students"]);
    assert!(!publication.resources.descriptors);
}

#[test]
fn a_mistake_in_defaults_is_told_once() {
    let text = format!("{}defaults: {{connection: {{timeout: soon}}}}", pair("", ""));

    assert_eq!(
        one_file(&text).mistakes(&[]),
        "t.yaml:14:34: defaults.connection.timeout: `soon` is not a duration: write it with its \
         unit, such as 30s or 15m"
    );
}

#[test]
fn a_schedule_fires_on_the_clocks_of_its_zone() {
    let config = config_of(&pair("", "schedule: '0 30 2 * * *', time_zone: America/Chicago"));
    let publication = nightly(&config);
    let Trigger::Cron(schedule) = &publication.trigger else { panic!("a schedule was given") };
    let utc = |text: &str| text.parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    let next = |after| schedule.next_after(utc(after), publication.time_zone).unwrap();

    assert_eq!(next("2026-01-31T08:30:00Z"), utc("2026-02-01T08:30:00Z"));
    assert_eq!(next("2026-07-01T00:00:00Z"), utc("2026-07-01T07:30:00Z"));
}

#[test]
fn closed_hours_end_on_the_clocks_of_their_zone() {
    let text = pair(
        "closed: [{cron: 0 0 6 * * MON-FRI, for: 2h, time_zone: America/Chicago},
      {cron: 0 */30 * * * *, for: 40m}]",
        "",
    );
    let config = config_of(&text);
    let utc = |text: &str| text.parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    let until = |hours: usize, at| district(&config).closed[hours].closed_until(utc(at));

    assert_eq!(until(0, "2026-02-02T11:59:59Z"), None);
    assert_eq!(until(0, "2026-02-02T12:00:00Z"), Some(utc("2026-02-02T14:00:00Z")));
    assert_eq!(until(0, "2026-02-02T13:59:59Z"), Some(utc("2026-02-02T14:00:00Z")));
    assert_eq!(until(0, "2026-02-02T14:00:00Z"), None);
    assert_eq!(until(0, "2026-02-01T12:30:00Z"), None, "a Sunday");
    assert_eq!(until(0, "2026-07-06T11:00:00Z"), Some(utc("2026-07-06T13:00:00Z")), "summer");
    let always = until(1, "2026-02-02T12:00:00Z").unwrap();
    assert!(always > utc("2026-02-03T12:00:00Z"), "one begins before the other ends: {always}");
}

#[test]
fn publications_that_wait_for_each_other_are_a_mistake() {
    let entry = |name: &str, after: &str| {
        format!("  {name}: {{source: district, targets: [state], after: [{after}]}}\n")
    };
    let circle = format!("{}{}", pair("", "after: [a]"), entry("a", "b") + &entry("b", "nightly"));
    let line = format!("{}{}", pair("", "after: [a]"), entry("a", "b") + &entry("b", ""));

    let mistakes = one_file(&circle).mistakes(&[]);

    assert_eq!(mistakes.lines().count(), 3, "{mistakes}");
    assert!(mistakes.contains("`a` waits for `nightly` in its turn: neither would ever run"));
    assert_eq!(one_file(&line).mistakes(&[]), "no mistake");
}

#[test]
fn publications_that_may_publish_the_same_twice_are_doubted() {
    let second = |resources: &str| {
        format!(
            "{}  weekly: {{source: district, targets: [state], resources: {resources}}}\n",
            pair("", "resources: {include_only: [students]}")
        )
    };

    let same = one_file(&second("{include_only: [/ed-fi/students, schools]}"));
    let apart = one_file(&second("{include_only: [schools]}"));
    let left_out = one_file(&second("{exclude: [students]}"));

    assert_eq!(
        same.warnings(),
        "t.yaml:14:48: publications.weekly.resources: publishes from `district` to `state` as \
         `nightly` does, and their resources may overlap: select different ones"
    );
    assert_eq!(apart.warnings(), "");
    assert_eq!(left_out.warnings(), "");
}

#[test]
fn a_publication_is_sole_writer_until_another_writes_to_the_same_data() {
    let name = PublicationName::parse("nightly").unwrap();
    let target = ConnectionName::parse("state").unwrap();
    let with_another = |nightly: &str| {
        format!(
            "{}  weekly: {{source: other, targets: [again]}}\n",
            pair(
                "\n  other: {kind: ed-fi, url: https://o.example, key: {env: K}, secret: {env: S}}
  again: {kind: ed-fi, url: https://state.example/, key: {env: A}, secret: {env: S}}",
                nightly
            )
        )
    };
    let is_sole_writer = |text: &str| config_of(text).is_sole_writer(&name, &target);

    assert!(is_sole_writer(&pair("", "")));
    assert!(!is_sole_writer(&pair("", "sole_writer: false")));
    assert!(!is_sole_writer(&with_another("")));
    assert!(is_sole_writer(&with_another("sole_writer: true")));
}

#[test]
fn the_flag_comes_before_the_variable_and_both_before_the_usual_place() {
    let env = variables(&[("TIDEMARK_CONFIG", "/from/variable")]);

    assert_eq!(find_path(Some("/from/flag".into()), &env), Ok(PathBuf::from("/from/flag")));
    assert_eq!(find_path(None, &env), Ok(PathBuf::from("/from/variable")));
    // Tests start in the project's own directory.
    assert_eq!(find_path(None, &BTreeMap::new()), Ok(PathBuf::from("config/tidemark.yaml")));
}

#[test]
fn a_share_is_rounded_down_and_never_more_than_all() {
    let share = |text: &str| Percent::parse(text);

    assert_eq!(share("10%").unwrap().of(19), 1);
    assert_eq!(share("100%").unwrap().of(u64::MAX), u64::MAX);
    assert_eq!(share("0%").unwrap().of(u64::MAX), 0);
    assert_eq!(share("0.05%").unwrap().of(10_000), 5);
    for wrong in ["10", "101%", "-1%", "1.234%", "%", "1e1%", "100.01%", ".5%"] {
        assert_eq!(share(wrong), None, "{wrong}");
    }
}
