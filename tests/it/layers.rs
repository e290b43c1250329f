//! Who may name whom, as data: a new edge between modules, or a second home for an outside crate,
//! is one visible line here, to be argued for in review.
//!
//! The program's own text is read, tests and comments left out (`source_text.rs`).

use std::collections::BTreeSet;

use crate::source_text::{program, program_of};

/// Every module under `src/` and the modules it may name beside itself. What is not listed is
/// forbidden.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("main", &["cli"]),
    ("lib", &[]),
    // Arguments to exit code: it shows what the others know, and starts the sandbox.
    (
        "cli",
        &[
            "clock",
            "config",
            "core_dumps",
            "daemon",
            "desk",
            "domain",
            "engine",
            "http",
            "sandbox",
            "state",
            "tasks",
            "telemetry",
        ],
    ),
    // Wiring and the order of stopping: it knows everyone but the sandbox and the commands.
    (
        "daemon",
        &[
            "certificate",
            "clock",
            "config",
            "desk",
            "domain",
            "edfi",
            "engine",
            "http",
            "metrics",
            "schedule",
            "server",
            "sources",
            "state",
            "targets",
            "tasks",
            "telemetry",
        ],
    ),
    ("config", &["domain"]),
    ("schedule", &["clock", "config", "tasks"]),
    // No configuration and no HTTP: what the engine decides does not depend on a protocol.
    ("engine", &["clock", "domain", "metrics", "sources", "state", "targets", "tasks"]),
    // The two ends know neither each other nor the store; what both have to know is in `edfi`.
    ("sources", &["clock", "domain", "edfi", "http", "tasks"]),
    ("targets", &["clock", "domain", "edfi", "http", "tasks"]),
    ("edfi", &["clock", "domain", "http"]),
    ("domain", &[]),
    ("state", &["clock", "domain"]),
    // It watches runs and requests, so it knows what they tell.
    ("metrics", &["clock", "domain", "engine", "http", "state"]),
    // What is asked of pairs and what the answers look like, for whoever asks and whoever answers.
    ("desk", &["clock", "domain", "state"]),
    ("server", &["clock", "config", "desk", "domain", "engine", "metrics", "state", "tasks"]),
    ("http", &["certificate", "clock", "tasks"]),
    ("certificate", &["clock"]),
    ("tasks", &[]),
    ("clock", &[]),
    ("allocator", &[]),
    ("core_dumps", &[]),
    ("telemetry", &[]),
    // Its wire types are its own: a mistake that both ends shared would prove nothing. A clock that
    // tests hold and tasks with an owner are no knowledge of the program.
    ("sandbox", &["clock", "tasks"]),
];

/// Outside crates that have one home, and where it is: files, or folders with a closing slash.
const HOMES: &[(&str, &[&str])] = &[
    ("axum", &["server/", "sandbox/"]),
    ("clap", &["cli/", "main.rs"]),
    ("comfy_table", &["cli/"]),
    ("config", &["config/"]),
    ("croner", &["config/cron.rs", "schedule.rs"]),
    ("csv", &["config/rows.rs"]),
    ("flate2", &["sandbox/"]),
    ("indicatif", &["cli/"]),
    ("maud", &["server/console/"]),
    ("memchr", &["targets/edfi/"]),
    ("prometheus", &["metrics.rs", "metrics/", "server/"]),
    ("reqwest", &["http/"]),
    ("roxmltree", &["edfi/"]),
    ("rustix", &["core_dumps.rs", "state/room.rs"]),
    // Both ends of TLS: what requests leave by, and what clients come in by.
    ("rustls", &["certificate.rs", "http/", "server/tls.rs"]),
    ("rustls_platform_verifier", &["http/"]),
    ("saphyr_parser", &["config/yaml.rs"]),
    ("sled", &["state/sled.rs", "state/sled/"]),
    ("subtle", &["server/callers.rs", "server/console/admission.rs"]),
    ("tikv_jemallocator", &["allocator.rs"]),
    ("tokio_cron_scheduler", &["schedule.rs"]),
    ("tokio_rustls", &["server/tls.rs"]),
    ("tracing_subscriber", &["cli/", "telemetry.rs", "telemetry/"]),
    // What is served describes itself, also where it is made of what the state and a run tell.
    ("utoipa", &["desk/", "domain/", "server/", "state/"]),
    ("utoipa_axum", &["server/"]),
    ("wide", &["domain/scan.rs"]),
    ("x509_parser", &["certificate.rs"]),
];

#[test]
fn modules_name_only_the_modules_they_may() {
    let program = program();

    let forbidden: Vec<String> = program
        .iter()
        .flat_map(|(file, text)| forbidden_modules(file, &program_of(text)))
        .collect();

    assert!(program.len() > 40, "only {} files of program were found", program.len());
    assert!(forbidden.is_empty(), "{}", forbidden.join("\n"));
}

#[test]
fn outside_crates_stay_in_their_homes() {
    let program = program();

    let strays: Vec<String> = program
        .iter()
        .flat_map(|(file, text)| crates_away_from_home(file, &program_of(text)))
        .collect();

    assert!(strays.is_empty(), "{}", strays.join("\n"));
}

#[test]
fn every_module_has_a_line_and_every_line_a_module() {
    let program = program();

    let there: BTreeSet<&str> = program.keys().map(|file| module_of(file)).collect();
    let listed: BTreeSet<&str> = MAY_NAME.iter().map(|(module, _)| *module).collect();

    assert_eq!(there, listed);
}

#[test]
fn a_forbidden_module_is_noticed_however_it_is_written() {
    for (case, file, line) in [
        ("a use", "domain/window.rs", "use crate::state::Step;"),
        ("a path", "engine/run.rs", "    let c = crate::config::load(path);"),
        ("a group", "targets/edfi/mod.rs", "use crate::{domain::Item, sources::Reader};"),
        ("a group of lines", "sources/mod.rs", "use crate::{\n    domain::Item,\n    state,\n};"),
        ("a climb", "sandbox/routes/item.rs", "use super::super::super::edfi::split_page;"),
        ("a climb from a folder", "engine/mod.rs", "use super::http::HttpError;"),
        ("a nested group", "domain/key.rs", "use crate::{domain::{a, b}, clock::Clock};"),
        ("the library in the binary", "main.rs", "use tidemark::state::open;"),
    ] {
        assert_eq!(forbidden_modules(file, &program_of(line)).len(), 1, "{case}");
    }
}

#[test]
fn a_crate_away_from_home_is_noticed() {
    for (case, file, line) in [
        ("a use", "engine/run.rs", "use sled::Db;"),
        ("a path", "sources/edfi/wire.rs", "fn f(client: &reqwest::Client) {}"),
        ("from the root", "cli/run.rs", "let layers = ::config::Config::builder();"),
        ("an attribute", "config/tree.rs", "#[clap::arg(long)]"),
        ("a file beside the home", "state/memory.rs", "use sled::IVec;"),
    ] {
        assert_eq!(crates_away_from_home(file, &program_of(line)).len(), 1, "{case}");
    }
}

#[test]
fn what_is_allowed_tests_and_prose_is_not_noticed() {
    for (case, file, text) in [
        ("its own module", "engine/run.rs", "use crate::engine::report::RunReport;"),
        ("an edge of the table", "engine/run.rs", "use crate::{domain::Item, state::Step};"),
        ("a sibling", "engine/run.rs", "use super::apply::Settled;"),
        ("prose", "domain/window.rs", "/// See [`crate::sources::Reader`] and `sled::Db`."),
        ("a closing remark", "domain/window.rs", "let a = 1; // as crate::state::Step does"),
        ("a word of a name", "domain/window.rs", "use std::thread::available_parallelism;"),
        ("our own module of that name", "state/mod.rs", "mod sled;\npub use self::sled::open;"),
        ("our own configuration", "daemon.rs", "use crate::config;\nfn f() { config::load(p) }"),
        ("a visibility", "domain/key.rs", "pub(crate) fn f() {}"),
        (
            "a test",
            "domain/key.rs",
            "#[cfg(test)]\nmod tests {\n    use crate::state::Step;\n    use sled::Db;\n}",
        ),
        ("a line for tests", "domain/key.rs", "#[cfg(test)]\nuse crate::state::Step;"),
    ] {
        let text = program_of(text);

        assert_eq!(forbidden_modules(file, &text), Vec::<String>::new(), "{case}");
        assert_eq!(crates_away_from_home(file, &text), Vec::<String>::new(), "{case}");
    }
}

#[test]
fn what_follows_a_test_is_program_again() {
    let text = "#[cfg(test)]\nmod tests {\n    fn f() {\n    }\n}\n\nuse crate::state::Step;\n";

    assert_eq!(forbidden_modules("domain/key.rs", &program_of(text)).len(), 1);
}

/// The module of the crate that a file belongs to: `engine` for `engine/run.rs`.
fn module_of(file: &str) -> &str {
    file.split('/').next().unwrap_or(file).trim_end_matches(".rs")
}

fn forbidden_modules(file: &str, program: &str) -> Vec<String> {
    let module = module_of(file);
    let allowed = MAY_NAME.iter().find(|(name, _)| *name == module).map_or(&[][..], |line| line.1);
    named_modules(file, program)
        .into_iter()
        .filter(|named| named != module && !allowed.contains(&named.as_str()))
        .map(|named| format!("src/{file} names `{named}`, which `{module}` may not"))
        .collect()
}

/// Modules of the crate that a file names, by `crate::x`, by climbing with `super::`, or in the
/// binary through the library.
fn named_modules(file: &str, program: &str) -> BTreeSet<String> {
    let climb = "super::".repeat(depth_of(file));
    let mut roots = vec!["crate::", "tidemark::"];
    if !climb.is_empty() {
        roots.push(&climb);
    }
    let mut named = BTreeSet::new();
    for root in roots {
        for after in paths_from(program, root) {
            named.extend(first_names(after));
        }
    }
    // Names that are no modules, such as `crate::Error`, are for `forbidden_modules` to refuse:
    // nothing lives in `lib.rs`.
    named.remove("super");
    named
}

/// How many `super::` lead from a file to the root of the crate.
fn depth_of(file: &str) -> usize {
    match file.trim_end_matches(".rs") {
        "lib" | "main" => 0,
        stem => stem.trim_end_matches("/mod").split('/').count(),
    }
}

/// What follows each use of `root` at the start of a path.
fn paths_from<'a>(program: &'a str, root: &str) -> Vec<&'a str> {
    let starts = program.match_indices(root).filter(|(at, _)| {
        let before = program[..*at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
    });
    starts.map(|(at, root)| &program[at + root.len()..]).collect()
}

/// The first name of a path, or of each path of a group.
fn first_names(path: &str) -> Vec<String> {
    let Some(group) = path.strip_prefix('{') else {
        return vec![identifier(path)];
    };
    let mut names = vec![identifier(group)];
    let mut depth = 1;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => names.push(identifier(&group[at + 1..])),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

fn identifier(text: &str) -> String {
    text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

fn crates_away_from_home(file: &str, program: &str) -> Vec<String> {
    let at_home = |homes: &[&str]| homes.iter().any(|home| file.starts_with(home));
    HOMES
        .iter()
        .filter(|(name, homes)| !at_home(homes) && names_crate(file, program, name))
        .map(|(name, homes)| format!("src/{file} names `{name}`, whose home is {homes:?}"))
        .collect()
}

/// A bare `config::` in a file that names `crate::config` is that module, not the crate.
fn names_crate(file: &str, program: &str, name: &str) -> bool {
    let from_the_root = !paths_from(program, &format!("::{name}::")).is_empty();
    let alone = !paths_from(program, &format!("use {name};")).is_empty();
    let is_our_module =
        program.contains(&format!("mod {name};")) || named_modules(file, program).contains(name);
    let as_a_path = !paths_from(program, &format!("{name}::")).is_empty();
    from_the_root || alone || (as_a_path && !is_our_module)
}
