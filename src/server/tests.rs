//! What is a name of this machine. Who may ask what is tested over HTTP, in `tests/it/admin`.

use super::gate::is_loopback_name;

#[test]
fn only_names_of_this_machine_are_loopback_names() {
    for (host, expected) in [
        ("localhost", true),
        ("LOCALHOST:8642", true),
        ("127.0.0.1:8642", true),
        ("127.0.0.1", true),
        ("[::1]:8642", true),
        ("[::1]", true),
        ("district.example:8642", false),
        ("localhost.example", false),
        ("192.0.2.1:8642", false),
    ] {
        assert_eq!(is_loopback_name(host), expected, "{host}");
    }
}
