//! Claims about `config show`.

use super::*;

const TEMPLATED: &str = "\
templates:
  district:
    for_each: [{id: a, url: https://a.example}]
    connections:
      \"${id}\": {kind: ed-fi, url: \"${url}\", key: hidden, secret: {file: /run/s}}
    publications:
      \"${id}-to-state\": {source: \"${id}\", targets: [state]}
defaults: {publication: {page_size: 7}}
connections:
  state: {kind: ed-fi, url: https://state.example, key: {env: K}, secret: {env: S}}
";

fn shown(written: &Written, name: &str) -> BTreeMap<String, String> {
    let env = variables(&[("TIDEMARK__CONNECTIONS__A__TIMEOUT", "5s")]);
    let values = show(written.directory.path(), &env, Some(name)).unwrap();
    let line = |value: &ShownValue| match &value.origin {
        Origin::Default => format!("{} from the default", value.value),
        Origin::Written(place) => format!("{} from {place}", value.value),
    };
    values.iter().map(|value| (value.key.clone(), written.relative(&line(value)))).collect()
}

#[test]
fn every_value_knows_its_file_line_template_and_row() {
    let written = one_file(TEMPLATED);

    let connection = shown(&written, "a");
    let publication = shown(&written, "a-to-state");

    for (key, expected) in [
        ("url", "https://a.example from t.yaml:5:35 (template `district`, row t.yaml:3)"),
        ("key", "*** from t.yaml:5:50 (template `district`, row t.yaml:3)"),
        ("secret", "{file: /run/s} from t.yaml:5:73 (template `district`, row t.yaml:3)"),
        ("timeout", "5s from TIDEMARK__CONNECTIONS__A__TIMEOUT"),
        ("max_concurrency", "512 from the default"),
    ] {
        assert_eq!(connection[&format!("connections.a.{key}")], expected);
    }
    for (key, expected) in [
        ("targets", "[state] from t.yaml:7:53 (template `district`, row t.yaml:3)"),
        ("page_size", "7 from t.yaml:8:37"),
        ("retry.max_attempts", "40 from the default"),
    ] {
        assert_eq!(publication[&format!("publications.a-to-state.{key}")], expected);
    }
    assert!(!connection.values().any(|value| value.contains("hidden")));
}

#[test]
fn without_a_name_everything_is_shown_and_an_unknown_name_is_a_mistake() {
    let written = one_file(TEMPLATED);
    let path = written.directory.path();

    let everything = show(path, &BTreeMap::new(), None).unwrap();
    let nothing = show(path, &BTreeMap::new(), Some("stat")).unwrap_err();

    let keys: Vec<&str> = everything.iter().map(|value| value.key.as_str()).collect();
    for key in ["server.listen", "connections.state.url", "publications.a-to-state.deletes"] {
        assert!(keys.contains(&key), "{key}");
    }
    assert_eq!(nothing.to_string(), "nothing is called `stat`; did you mean `state`?");
}

#[test]
fn what_is_read_from_the_directory_of_secrets_is_shown_as_such() {
    let text = TEMPLATED.replace("key: hidden, secret: {file: /run/s}", "scope: 1");
    let written = one_file(&format!("state: {{secrets_dir: /run/all}}\n{text}"));

    assert_eq!(
        shown(&written, "a")["connections.a.secret"],
        "{file: /run/all/a-secret} from the default"
    );
}

#[test]
fn no_token_is_shown_wherever_it_stands() {
    let server = "server: {admin_token: hidden, tokens: [{name: a, role: viewer, token: hidden}, \
                  {name: b, role: viewer, token: {env: B}}]}\n";
    let written = one_file(&format!("{server}{TEMPLATED}"));
    let env = variables(&[("B", "hidden")]);

    let values = show(written.directory.path(), &env, None).unwrap();

    let value = |key: &str| values.iter().find(|value| value.key == key).unwrap().value.clone();
    assert_eq!(value("server.admin_token"), "***");
    let tokens = value("server.tokens");
    assert!(tokens.contains("token: ***") && tokens.contains("token: {env: B}"), "{tokens}");
    assert!(!values.iter().any(|value| value.value.contains("hidden")), "{values:?}");
}
