//! The section `server`: where the daemon listens, who may ask it, and under which certificate.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::decode::Fields;
use super::secret::Secret;
use super::tree::ServerConfig;
use super::values;

/// The name of the token `server.admin_token`, which no other token may have.
pub const ADMIN_TOKEN: &str = "admin";

/// One of `server.tokens`: whoever brings it is a caller of this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenConfig {
    /// For the audit; no two tokens have the same.
    pub name: String,
    pub role: TokenRole,
    /// It sees the pairs with all of these labels; empty: all pairs.
    pub labels: BTreeMap<String, String>,
    pub token: Secret,
}

/// What a token allows; each role may do what the ones before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenRole {
    Viewer,
    Operator,
    Admin,
}

/// PEM files, which are read again when they change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// The server's own certificate first, then those that lead to its authority.
    pub certificate: PathBuf,
    pub key: PathBuf,
}

pub(super) fn decode(mut fields: Fields<'_, '_>) -> ServerConfig {
    let listen = fields.or("listen", ([127, 0, 0, 1], 8642).into(), values::socket);
    let metrics_listen = fields.optional("metrics_listen", values::socket);
    let metrics_resource_pairs = fields.or("metrics_resource_pairs", 20, values::whole);
    let max_running = fields.or("max_running", 32, values::positive);
    let admin_token = fields.optional_secret("admin_token");
    let tokens = tokens(&mut fields);
    let tls = tls(&mut fields);
    fields.finish();
    ServerConfig {
        listen,
        metrics_listen,
        max_running,
        metrics_resource_pairs,
        admin_token,
        tokens,
        tls,
    }
}

fn tokens(fields: &mut Fields<'_, '_>) -> Vec<TokenConfig> {
    let mut tokens = Vec::new();
    let mut names = BTreeSet::from([ADMIN_TOKEN.to_owned()]);
    for (path, value) in fields.mappings("tokens") {
        let mut token = Fields::open(fields.report, path, Some(value));
        let name = token.required("name", values::text);
        if let Some(name) = &name
            && !names.insert(name.value.clone())
        {
            let message = format!("another token is called `{}`: rename one of them", name.value);
            token.report.problem(&name.path, name.place.clone(), message);
        }
        token.require("role");
        // The least, where it says none: that it is missing has been said.
        let role = token.choice(
            "role",
            TokenRole::Viewer,
            &[
                ("viewer", TokenRole::Viewer),
                ("operator", TokenRole::Operator),
                ("admin", TokenRole::Admin),
            ],
        );
        let labels = token.texts("labels");
        let secret = token.secret("token", None);
        token.finish();
        if let (Some(name), Some(token)) = (name, secret) {
            tokens.push(TokenConfig { name: name.value, role, labels, token });
        }
    }
    tokens
}

fn tls(fields: &mut Fields<'_, '_>) -> Option<TlsConfig> {
    certificate_and_key(fields.nested("tls"))
}

/// The rest of a section: what names a certificate names its key too.
pub(super) fn certificate_and_key(tls: Fields<'_, '_>) -> Option<TlsConfig> {
    // Neither is plain HTTP; one alone is a mistake.
    let is_given = tls.has("certificate") || tls.has("key");
    let mut tls = if is_given { tls } else { tls.partial() };
    let certificate = tls.required("certificate", values::path);
    let key = tls.required("key", values::path);
    tls.finish();
    Some(TlsConfig { certificate: certificate?.value, key: key?.value })
}
