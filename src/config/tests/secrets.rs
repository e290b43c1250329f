//! Claims about secrets: they are read when needed, and nothing repeats them.

use secrecy::ExposeSecret;

use super::*;

const LITERAL: &str = "hunter2-hunter2";

fn read(secret: &Secret, env: &[(&str, &str)]) -> Result<String, String> {
    let text = secret.read(&variables(env)).map_err(|error| error.to_string())?;
    Ok(text.expose_secret().to_owned())
}

/// The secret `key` of the connection `district`, written as given.
fn key_of(written: &str) -> Secret {
    let text = pair("", "").replacen("key: {env: K}", &format!("key: {written}"), 1);
    district(&config_of(&text)).key.clone()
}

#[test]
fn a_literal_stays_the_text_that_was_written() {
    for text in ["00123", "1e5", "0x10", "no", "2026-01-31", "012.50", "00912e5"] {
        assert_eq!(read(&key_of(text), &[]), Ok(text.to_owned()));
    }
}

#[test]
fn a_secret_from_a_variable_stays_the_text_that_was_set() {
    let secret = key_of("{env: THE_KEY}");

    assert_eq!(read(&secret, &[("THE_KEY", "00912e5")]), Ok("00912e5".to_owned()));
    assert!(read(&secret, &[]).unwrap_err().contains("THE_KEY is not set"));
    assert!(read(&secret, &[("THE_KEY", "")]).unwrap_err().contains("THE_KEY is empty"));
}

#[test]
fn a_file_is_read_again_at_each_call() {
    let written = Written::files(&[("secret", "first\r\n")]);
    let file = written.directory.path().join("secret");
    let secret = key_of(&format!("{{file: {}}}", file.display()));

    assert_eq!(read(&secret, &[]), Ok("first".to_owned()));
    std::fs::write(&file, "second").unwrap();
    assert_eq!(read(&secret, &[]), Ok("second".to_owned()));
    std::fs::write(&file, "\n").unwrap();
    assert!(read(&secret, &[]).unwrap_err().contains("is empty"));
    std::fs::write(&file, [0xff, 0xfe]).unwrap();
    assert!(read(&secret, &[]).unwrap_err().contains("is not UTF-8"));
    std::fs::write(&file, vec![b'a'; 65 * 1024]).unwrap();
    assert!(read(&secret, &[]).unwrap_err().contains("larger than 64 KiB"));
    std::fs::remove_file(&file).unwrap();
    assert!(read(&secret, &[]).unwrap_err().contains("cannot read the secret's file"));
}

#[test]
fn a_variable_takes_the_place_of_a_secret_however_it_was_written() {
    let written = one_file(&pair("", ""));
    let key = |env: &[(&str, &str)]| district(&written.load(env).unwrap().config).key.clone();

    let literal = key(&[("TIDEMARK__CONNECTIONS__DISTRICT__KEY", "0123")]);
    let from_file = key(&[("TIDEMARK__CONNECTIONS__DISTRICT__KEY__FILE", "/run/k")]);

    assert_eq!(read(&literal, &[]), Ok("0123".to_owned()));
    assert!(read(&from_file, &[]).unwrap_err().contains("/run/k"));
}

#[test]
fn a_literal_warns_where_it_stands_in_a_file() {
    let text = pair("", "").replacen("key: {env: K}", &format!("key: {LITERAL}"), 1);

    assert_eq!(
        one_file(&text).warnings(),
        "t.yaml:5:10: connections.district.key: a secret stands in the file as it is: use `{env: \
         NAME}` or `{file: PATH}`"
    );
}

#[test]
fn check_names_every_secret_that_cannot_be_read() {
    let text = pair("", "").replacen("secret: {env: S}", "secret: {file: /nowhere/secret}", 1);
    let written = one_file(&text);
    let config = written.load(&[]).unwrap().config;

    let problems = config.check_secrets(&variables(&[("S", "x")]));

    let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
    assert_eq!(
        written.relative(&lines.join("\n")),
        "\
t.yaml:5:16: connections.district.key: the environment variable K is not set: set it where tidemark starts
t.yaml:6:20: connections.district.secret: cannot read the secret's file /nowhere/secret: check its path and permissions (No such file or directory (os error 2))
t.yaml:8:63: connections.state.key: the environment variable K is not set: set it where tidemark starts"
    );
}

#[test]
fn nothing_that_can_be_printed_repeats_a_secret() {
    let text = pair("", "").replacen("key: {env: K}", &format!("key: {LITERAL}"), 1);
    let loaded =
        one_file(&text).load(&[("TIDEMARK__CONNECTIONS__STATE__SECRET", LITERAL)]).unwrap();
    let secret = &district(&loaded.config).key;

    let debug = format!("{loaded:?} {loaded:#?}");
    let display = format!("{secret} {secret:?} {}", serde_json::to_string(secret).unwrap());

    assert!(!debug.contains(LITERAL) && debug.contains("***"));
    assert_eq!(display, "*** *** \"***\"");
    assert_eq!(read(secret, &[]), Ok(LITERAL.to_owned()), "the secret was there to be printed");
}

#[test]
fn no_mistake_repeats_a_misplaced_secret() {
    let ways = [
        format!("[a, {LITERAL}]"),
        format!("{{{LITERAL}: x}}"),
        format!("{{env: {LITERAL}}}"),
        format!("{{env: [{LITERAL}]}}"),
        format!("{{env: K, value: {LITERAL}}}"),
        format!("{{literal: {LITERAL}}}"),
        format!("&{LITERAL}"),
        format!("*{LITERAL}"),
        format!("!{LITERAL}"),
        format!("\"{LITERAL}"),
        format!("{LITERAL}: x"),
        format!("{{env: {{a: {LITERAL}}}}}"),
    ];
    for way in &ways {
        let text = pair("", "").replacen("key: {env: K}", &format!("key: {way}"), 1);

        let mistakes = one_file(&text).mistakes(&[]);

        assert!(mistakes.contains("t.yaml:"), "{way} is a mistake with a place: {mistakes}");
        assert!(!mistakes.contains(LITERAL), "{way}: {mistakes}");
    }
}

#[test]
fn no_mistake_repeats_a_secret_under_a_wrong_key() {
    let places = [
        pair(&format!("secrte: {LITERAL}"), ""),
        pair(&format!("password: {LITERAL}"), ""),
        pair(&format!("client: {{secret: {LITERAL}}}"), ""),
        pair(&format!("key: {LITERAL}"), ""),
        pair(&format!("token_url: https://me:{LITERAL}@host.example"), ""),
        pair(&format!("token_url: {LITERAL}"), ""),
        pair("", &format!("secret: {LITERAL}")),
        pair("", &format!("retry: {LITERAL}")),
        format!("{}server: {{admin_token: [{LITERAL}]}}", pair("", "")),
        format!("{}server: {{admin_tokken: {LITERAL}}}", pair("", "")),
        format!("{}server: {{tokens: [{{token: {LITERAL}}}]}}", pair("", "")),
        format!("{}secret: {LITERAL}", pair("", "")),
        format!("{}defaults: {{connection: {{key: [{LITERAL}]}}}}", pair("", "")),
        format!("connections: {{district: {LITERAL}}}"),
        format!("connections: {LITERAL}"),
        LITERAL.to_owned(),
    ];
    for text in &places {
        let mistakes = one_file(text).mistakes(&[]);

        assert!(mistakes.contains("t.yaml:"), "{text} has a mistake with a place: {mistakes}");
        assert!(!mistakes.contains(LITERAL), "{mistakes}");
    }
}
