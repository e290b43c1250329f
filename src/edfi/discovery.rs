//! What a root document says, made into addresses that can be asked.

//!
//! Root documents differ: addresses with and without trailing slashes, absolute and relative, with
//! the current calendar year where the connection's school year belongs, with placeholders nobody
//! filled in. The one thing to know: what leaves here is whole, or discovery failed with a sentence
//! that says what to change.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use serde::Deserialize;
use url::Url;

use super::api::ConnectionSettings;
use super::dialect::Dialect;
use super::json::is_markup;
use crate::domain::{Fingerprint, ResourcePath};

/// The root document, as far as it is of use (`edfi-wire §1`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    pub version: String,
    /// Name and version, in the document's order.
    pub data_models: Vec<(String, String)>,
    /// `Year Specific` and others, before 7.0.
    pub api_mode: Option<String>,
}

/// One API, understood.
#[derive(Clone, Debug)]
pub struct Discovery {
    pub root: Root,
    pub dialect: &'static Dialect,
    /// Data management; ends with `/`.
    pub data: Url,
    /// Change queries; ends with `/`.
    pub change_queries: Url,
    pub dependencies: Option<Url>,
    pub open_api: Option<Url>,
    pub token: Url,
    pub fingerprint: Fingerprint,
    collections: Collections,
}

/// Addresses that were made before: every write asks for one.
type Collections = Arc<Mutex<HashMap<ResourcePath, Url>>>;

impl Discovery {
    /// `…/data/v3/ed-fi/students`
    pub fn collection(&self, resource: &ResourcePath) -> Url {
        let mut made =
            self.collections.lock().expect("nothing panics while it holds the addresses");
        if let Some(url) = made.get(resource) {
            return url.clone();
        }
        let url = below(&self.data, &[resource.schema(), resource.collection()]);
        made.insert(resource.clone(), url.clone());
        url
    }

    /// `…/data/v3/ed-fi/students/{id}`
    pub fn item(&self, resource: &ResourcePath, id: &str) -> Url {
        below(&self.data, &[resource.schema(), resource.collection(), id])
    }

    pub fn partitions(&self, resource: &ResourcePath) -> Url {
        below(&self.data, &[resource.schema(), resource.collection(), "partitions"])
    }

    pub fn deletes(&self, resource: &ResourcePath) -> Url {
        below(&self.data, &[resource.schema(), resource.collection(), "deletes"])
    }

    pub fn key_changes(&self, resource: &ResourcePath) -> Url {
        below(&self.data, &[resource.schema(), resource.collection(), "keyChanges"])
    }

    pub fn available_change_versions(&self) -> Url {
        below(&self.change_queries, &["availableChangeVersions"])
    }

    /// Where versions before 7 list their snapshots.
    pub fn snapshots(&self) -> Url {
        below(&self.change_queries, &["snapshots"])
    }

    /// The version of the `Ed-Fi` data model: `5.2.0`.
    pub fn data_standard(&self) -> Option<&str> {
        let ed_fi = self.root.data_models.iter().find(|(name, _)| name == "Ed-Fi");
        ed_fi.map(|(_, version)| version.as_str())
    }
}

/// Segments are escaped, so an id can never lead to another address.
fn below(base: &Url, segments: &[&str]) -> Url {
    let mut url = base.clone();
    url.path_segments_mut()
        .expect("discovery admits only http and https addresses")
        .pop_if_empty()
        .extend(segments);
    url
}

/// Why a root document is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RootError {
    /// It is no root document.
    #[error("{0}")]
    Shape(String),
    /// It is one, and cannot be used with these settings.
    #[error("{0}")]
    Unusable(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RootDocument {
    #[serde(default)]
    version: String,
    api_mode: Option<String>,
    #[serde(default)]
    data_models: Vec<DataModel>,
    #[serde(default)]
    urls: BTreeMap<String, Option<String>>,
}

#[derive(Deserialize)]
struct DataModel {
    name: String,
    version: String,
}

impl Discovery {
    /// Understands a root document.
    pub(super) fn read(
        document: &[u8],
        settings: &ConnectionSettings,
    ) -> Result<Discovery, RootError> {
        if is_markup(document) {
            return Err(RootError::Shape("it answers HTML where the root document was due".into()));
        }
        let root: RootDocument = serde_json::from_slice(document).map_err(|_| {
            RootError::Shape("its answer is not the root document of an Ed-Fi API".into())
        })?;
        let dialect = dialect_of(&root.version)?;
        let addresses = Addresses { root: &root, settings };

        let data = addresses.required("dataManagementApi")?;
        let data = addresses.in_its_year(data, true)?;
        let data = slashed(data);
        let change_queries = match addresses.optional("changeQueries")? {
            Some(url) => addresses.in_its_year(url, true)?,
            None => beside_data(&data),
        };
        let token = match (&settings.token_url, addresses.optional("oauth")?) {
            (Some(configured), _) => configured.clone(),
            (None, Some(told)) => told,
            (None, None) => below(&settings.url, &["oauth", "token"]),
        };
        let dependencies = addresses.optional("dependencies")?;
        let open_api = addresses.optional("openApiMetadata")?;
        let fingerprint = Fingerprint {
            data_url: data.to_string(),
            school_year: settings.school_year.map(|year| year.to_string()),
            instance: settings.instance.clone(),
            data_models: root
                .data_models
                .iter()
                .map(|model| (model.name.clone(), model.version.clone()))
                .collect(),
            api_version: root.version.clone(),
        };
        Ok(Discovery {
            dialect,
            data,
            change_queries: slashed(change_queries),
            dependencies: dependencies.map(|url| addresses.in_its_year(url, false)).transpose()?,
            open_api: open_api.map(|url| addresses.in_its_year(url, false)).transpose()?,
            token,
            collections: Collections::default(),
            fingerprint,
            root: Root {
                version: root.version,
                data_models: root.data_models.into_iter().map(|m| (m.name, m.version)).collect(),
                api_mode: root.api_mode,
            },
        })
    }

    /// An address that a document of this API names, made absolute and as safe as the connection.
    pub(super) fn address(
        &self,
        told: &str,
        settings: &ConnectionSettings,
    ) -> Result<Url, RootError> {
        absolute(told, settings)
    }
}

fn dialect_of(version: &str) -> Result<&'static Dialect, RootError> {
    if version.trim().is_empty() {
        return Err(RootError::Shape(
            "its root document names no version, so it is not the root of an Ed-Fi API".into(),
        ));
    }
    Dialect::of_version(version).ok_or_else(|| RootError::Unusable(not_accepted(version)))
}

/// What is said of a version that this program does not work with.
fn not_accepted(version: &str) -> String {
    let known: String = version.chars().filter(|c| !c.is_control()).take(40).collect();
    format!(
        "Ed-Fi ODS/API {known} is not in this version of Tidemark (5.3, 6.1, 7.1, 7.2, 7.3 and 8 are)"
    )
}

/// The root document's addresses under the connection's settings.
struct Addresses<'a> {
    root: &'a RootDocument,
    settings: &'a ConnectionSettings,
}

impl Addresses<'_> {
    fn required(&self, name: &str) -> Result<Url, RootError> {
        self.optional(name)?.ok_or_else(|| {
            RootError::Shape(format!("its root document has no address `urls.{name}`"))
        })
    }

    fn optional(&self, name: &str) -> Result<Option<Url>, RootError> {
        let told = self.root.urls.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        let Some((_, Some(told))) = told else { return Ok(None) };
        let told = self.filled_in(told)?;
        absolute(&told, self.settings).map(Some)
    }

    /// Puts the settings where the document has placeholders.
    fn filled_in(&self, told: &str) -> Result<String, RootError> {
        let told = told.replace("%7B", "{").replace("%7b", "{");
        let told = told.replace("%7D", "}").replace("%7d", "}");
        let mut filled = String::new();
        let mut rest = told.as_str();
        while let Some((before, after)) = rest.split_once('{') {
            let Some((placeholder, after)) = after.split_once('}') else { break };
            filled.push_str(before);
            filled.push_str(&self.value_of(placeholder)?);
            rest = after;
        }
        filled.push_str(rest);
        Ok(filled)
    }

    fn value_of(&self, placeholder: &str) -> Result<String, RootError> {
        let name = placeholder.split(':').next().unwrap_or(placeholder);
        if name.to_ascii_lowercase().contains("year") {
            return match self.settings.school_year {
                Some(year) => Ok(year.to_string()),
                None => Err(RootError::Unusable(
                    "it has an address for each school year: set `school_year`, or put the year into `url`".into(),
                )),
            };
        }
        if name.eq_ignore_ascii_case("instance") {
            return match &self.settings.instance {
                Some(instance) => Ok(instance.clone()),
                None => Err(RootError::Unusable(
                    "it has an address for each instance: set `instance`".into(),
                )),
            };
        }
        let name: String = name.chars().filter(char::is_ascii_alphanumeric).take(40).collect();
        Err(RootError::Unusable(format!(
            "its root document leaves {{{name}}} open: put the tenant (and the context, where it has one) into `url`, as in https://host/tenant"
        )))
    }

    /// Before 7.0 a host for several years tells its addresses with the current calendar year;
    /// ours goes there, or at the end where there is none and the address `leads_to_data`.
    fn in_its_year(&self, mut url: Url, leads_to_data: bool) -> Result<Url, RootError> {
        let mode = self.root.api_mode.as_deref().unwrap_or_default().to_ascii_lowercase();
        let by_year = mode.contains("year");
        let by_instance = mode.contains("instance") && mode != "shared instance";
        let mut segments: Vec<String> =
            url.path().split('/').filter(|s| !s.is_empty()).map(str::to_owned).collect();

        match (self.settings.school_year.map(|year| year.to_string()), by_year) {
            (Some(year), true) => match segments.iter().rposition(|segment| is_year(segment)) {
                Some(at) => segments[at] = year,
                None if leads_to_data => segments.push(year),
                None => {}
            },
            (None, true) => {
                return Err(RootError::Unusable("it is year-specific: set `school_year`".into()));
            }
            (Some(year), false) if leads_to_data && !segments.contains(&year) => {
                return Err(RootError::Unusable(format!(
                    "its addresses have no school year {year}: remove `school_year`, or put the context into `url`"
                )));
            }
            (Some(_) | None, false) => {}
        }
        match &self.settings.instance {
            Some(instance) if leads_to_data && !segments.contains(instance) => {
                if !by_instance {
                    return Err(RootError::Unusable(
                        "its addresses have no instance: remove `instance`, or put it into `url`"
                            .into(),
                    ));
                }
                let at = segments.len() - usize::from(by_year);
                segments.insert(at, instance.clone());
            }
            None if by_instance && leads_to_data => {
                return Err(RootError::Unusable("it is instance-specific: set `instance`".into()));
            }
            Some(_) | None => {}
        }
        let trailing = if url.path().ends_with('/') { "/" } else { "" };
        url.set_path(&format!("/{}{trailing}", segments.join("/")));
        Ok(url)
    }
}

fn is_year(segment: &str) -> bool {
    segment.len() == 4 && segment.parse::<u16>().is_ok_and(|year| (1900..2200).contains(&year))
}

/// Relative addresses are read from the connection's address. One that would send in the clear
/// what the connection sends under TLS is taken to the same host under TLS (a proxy before it
/// speaks TLS and the host does not know), and refused for any other.
fn absolute(told: &str, settings: &ConnectionSettings) -> Result<Url, RootError> {
    let base = slashed(settings.url.clone());
    let mut url = base
        .join(told.trim())
        .map_err(|_| RootError::Shape("its root document holds an address that is none".into()))?;
    url.set_query(None);
    url.set_fragment(None);
    if !matches!(url.scheme(), "http" | "https") {
        return Err(RootError::Shape("its root document holds an address that is not http".into()));
    }
    if base.scheme() == "https" && url.scheme() == "http" {
        if url.host_str() != base.host_str() {
            return Err(RootError::Unusable(format!(
                "it is https, but its root document leads to http://{}: credentials are not sent in the clear",
                url.host_str().unwrap_or_default()
            )));
        }
        let upgraded = url.set_scheme("https").and_then(|()| url.set_port(base.port()));
        if upgraded.is_err() {
            return Err(RootError::Shape("its root document holds an address that is none".into()));
        }
    }
    Ok(url)
}

/// 5.x and hosts with the feature hidden do not name it; it is where it always is.
fn beside_data(data: &Url) -> Url {
    let mut url = data.clone();
    let path = match url.path().rfind("/data/v3") {
        Some(at) => {
            let (before, after) = url.path().split_at(at);
            format!("{before}/changeQueries/v1{}", after.trim_start_matches("/data/v3"))
        }
        // 8 has its data without `v3`.
        None => match url.path().trim_end_matches('/').strip_suffix("/data") {
            Some(before) => format!("{before}/changeQueries/v1/"),
            None => format!("{}changeQueries/v1/", url.path()),
        },
    };
    url.set_path(&path);
    url
}

fn slashed(mut url: Url) -> Url {
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    url
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    fn settings(url: &str) -> ConnectionSettings {
        let secret: crate::http::SecretSource = Arc::new(|| Ok("x".to_owned().into()));
        ConnectionSettings {
            tls: crate::http::ClientTls::default(),
            name: "here".to_owned(),
            url: Url::parse(url).unwrap(),
            key: Arc::clone(&secret),
            secret,
            token_url: None,
            scope: None,
            school_year: None,
            instance: None,
            timeout: Duration::from_secs(1),
            max_concurrency: 1,
            max_requests_per_second: 0,
            shared_limit: None,
            closed_until: None,
            look_again_after: crate::edfi::LOOK_AGAIN_AFTER,
        }
    }

    fn root(version: &str, mode: &str, urls: &[(&str, &str)]) -> String {
        let urls: Vec<String> =
            urls.iter().map(|(name, url)| format!("\"{name}\":\"{url}\"")).collect();
        format!(
            r#"{{"version":"{version}","apiMode":{mode},"dataModels":[{{"name":"Ed-Fi","version":"5.2.0"}}],"urls":{{{}}}}}"#,
            urls.join(",")
        )
    }

    fn read(document: &str, settings: &ConnectionSettings) -> Result<Discovery, RootError> {
        Discovery::read(document.as_bytes(), settings)
    }

    const ODS_6_1: &str = r#"{"version":"6.1","informationalVersion":"6.1","suite":"3","build":"6.1.901.0","apiMode":"Year Specific",
        "dataModels":[{"name":"Ed-Fi","version":"4.0.0"},{"name":"TPDM","version":"1.1.0"}],
        "urls":{"dependencies":"https://localhost/v6.1/WebApi/metadata/data/v3/2025/dependencies",
        "openApiMetadata":"https://localhost/v6.1/WebApi/metadata/2025",
        "oauth":"https://localhost/v6.1/WebApi/oauth/token",
        "dataManagementApi":"https://localhost/v6.1/WebApi/data/v3/2025",
        "changeQueries":"https://localhost/v6.1/WebApi/changeQueries/v1/2025"}}"#;

    #[test]
    fn addresses_are_whole_however_the_document_spells_them() {
        let shapes = [
            ("http://h/api", "http://h/api/data/v3/", "http://h/api/changeQueries/v1/"),
            ("http://h/api/", "http://h/api/data/v3", "http://h/api/changeQueries/v1"),
            ("http://h/api", "data/v3", "changeQueries/v1/"),
            ("http://h/api/", "/api/data/v3/", "/api/changeQueries/v1"),
        ];
        for (url, data, change_queries) in shapes {
            let document = root(
                "7.3",
                "null",
                &[("dataManagementApi", data), ("changeQueries", change_queries)],
            );

            let found = read(&document, &settings(url)).unwrap();

            let students = ResourcePath::parse("/ed-fi/students").unwrap();
            assert_eq!(found.collection(&students).as_str(), "http://h/api/data/v3/ed-fi/students");
            assert_eq!(
                found.available_change_versions().as_str(),
                "http://h/api/changeQueries/v1/availableChangeVersions"
            );
            assert_eq!(found.token.as_str(), "http://h/api/oauth/token");
        }
    }

    #[test]
    fn tenant_and_context_of_the_address_stay() {
        let document = root(
            "7.3",
            "null",
            &[
                ("dataManagementApi", "http://h/tenant/2026/data/v3/"),
                ("oauth", "http://h/tenant/2026/oauth/token"),
            ],
        );

        let found = read(&document, &settings("http://h/tenant/2026")).unwrap();

        assert_eq!(found.data.as_str(), "http://h/tenant/2026/data/v3/");
        assert_eq!(found.change_queries.as_str(), "http://h/tenant/2026/changeQueries/v1/");
        assert_eq!(found.token.as_str(), "http://h/tenant/2026/oauth/token");
    }

    #[test]
    fn a_tenant_that_nobody_filled_in_is_asked_for() {
        for spelt in ["{tenantIdentifier}", "%7BtenantIdentifier%7D"] {
            let data = format!("http://h/{spelt}/data/v3/");
            let document = root("7.3", "null", &[("dataManagementApi", &data)]);

            let error = read(&document, &settings("http://h")).unwrap_err().to_string();

            assert!(error.contains("leaves {tenantIdentifier} open"), "{error}");
        }
    }

    #[test]
    fn our_school_year_goes_where_the_document_has_the_calendar_year() {
        let with_year = ConnectionSettings {
            school_year: Some(2022),
            ..settings("https://localhost/v6.1/WebApi")
        };

        let found = read(ODS_6_1, &with_year).unwrap();

        assert_eq!(found.data.as_str(), "https://localhost/v6.1/WebApi/data/v3/2022/");
        assert_eq!(
            found.change_queries.as_str(),
            "https://localhost/v6.1/WebApi/changeQueries/v1/2022/"
        );
        assert_eq!(
            found.dependencies.unwrap().as_str(),
            "https://localhost/v6.1/WebApi/metadata/data/v3/2022/dependencies"
        );
        assert_eq!(found.token.as_str(), "https://localhost/v6.1/WebApi/oauth/token");
        let without = read(ODS_6_1, &settings("https://localhost/v6.1/WebApi")).unwrap_err();
        assert!(without.to_string().contains("set `school_year`"), "{without}");
    }

    #[test]
    fn the_instance_goes_where_the_document_leaves_it_open() {
        let document = root(
            "6.1",
            "\"Instance Year Specific\"",
            &[
                ("dataManagementApi", "http://h/data/v3/{instance}/2025"),
                ("changeQueries", "http://h/changeQueries/v1/{instance}/2025"),
                ("oauth", "http://h/{instance}/oauth/token"),
            ],
        );
        let settings = ConnectionSettings {
            school_year: Some(2022),
            instance: Some("north".to_owned()),
            ..settings("http://h")
        };

        let found = read(&document, &settings).unwrap();

        assert_eq!(found.data.as_str(), "http://h/data/v3/north/2022/");
        assert_eq!(found.change_queries.as_str(), "http://h/changeQueries/v1/north/2022/");
        assert_eq!(found.token.as_str(), "http://h/north/oauth/token");
    }

    #[test]
    fn a_year_that_the_host_does_not_know_is_not_passed_over() {
        let document = root("7.3", "null", &[("dataManagementApi", "http://h/data/v3/")]);
        let with_year = ConnectionSettings { school_year: Some(2022), ..settings("http://h") };

        let error = read(&document, &with_year).unwrap_err().to_string();

        assert!(error.contains("no school year 2022"), "{error}");
    }

    #[test]
    fn credentials_never_go_in_the_clear_where_the_connection_is_https() {
        let same = root("7.3", "null", &[("dataManagementApi", "http://h/data/v3/")]);
        let other = root("7.3", "null", &[("dataManagementApi", "http://elsewhere/data/v3/")]);

        let found = read(&same, &settings("https://h:8443/")).unwrap();
        let error = read(&other, &settings("https://h/")).unwrap_err().to_string();

        assert_eq!(found.data.as_str(), "https://h:8443/data/v3/");
        assert!(error.contains("not sent in the clear"), "{error}");
    }

    #[test]
    fn a_token_address_that_is_configured_counts() {
        let document = root(
            "7.3",
            "null",
            &[("dataManagementApi", "http://h/data/v3/"), ("oauth", "http://h/wrong")],
        );
        let token_url = Some(Url::parse("http://sts/token").unwrap());

        let found = read(&document, &ConnectionSettings { token_url, ..settings("http://h") });

        assert_eq!(found.unwrap().token.as_str(), "http://sts/token");
    }

    #[test]
    fn versions_that_are_not_known_are_refused_by_name() {
        for version in ["7.0", "5.2", "6.2", "9.0", "7"] {
            let document = root(version, "null", &[("dataManagementApi", "http://h/data/v3/")]);

            let error = read(&document, &settings("http://h")).unwrap_err().to_string();

            assert_eq!(
                error,
                format!(
                    "Ed-Fi ODS/API {version} is not in this version of Tidemark (5.3, 6.1, 7.1, 7.2, 7.3 and 8 are)"
                )
            );
        }
    }

    #[test]
    fn addresses_of_5_3_and_of_8_are_found_where_they_are() {
        for (version, data, at) in [
            ("5.3", "http://h/data/v3/", "http://h/changeQueries/v1/"),
            ("5.3", "http://h/x/data/v3", "http://h/x/changeQueries/v1/"),
            ("8.0.0", "http://h/data", "http://h/changeQueries/v1/"),
            ("8.0.0", "http://h/tenant/data/", "http://h/tenant/changeQueries/v1/"),
        ] {
            let document = root(version, "null", &[("dataManagementApi", data)]);

            let found = read(&document, &settings("http://h")).unwrap();

            assert_eq!(found.change_queries.as_str(), at, "{version} {data}");
            assert_eq!(found.data.as_str().trim_end_matches('/'), data.trim_end_matches('/'));
        }
    }

    #[test]
    fn what_is_no_root_document_is_told_for_what_it_is() {
        for (document, told) in [
            ("<html>", "it answers HTML where the root document was due"),
            ("[]", "its answer is not the root document of an Ed-Fi API"),
            ("", "its answer is not the root document of an Ed-Fi API"),
            ("{}", "its root document names no version, so it is not the root of an Ed-Fi API"),
            (
                r#"{"version":"7.3","urls":{}}"#,
                "its root document has no address `urls.dataManagementApi`",
            ),
            (
                r#"{"version":"7.3","urls":{"dataManagementApi":"ftp://h/"}}"#,
                "its root document holds an address that is not http",
            ),
        ] {
            assert_eq!(read(document, &settings("http://h")).unwrap_err().to_string(), told);
        }
    }

    #[test]
    fn an_id_can_not_lead_to_another_address() {
        let document = root("7.3", "null", &[("dataManagementApi", "http://h/data/v3/")]);
        let found = read(&document, &settings("http://h")).unwrap();
        let students = ResourcePath::parse("/ed-fi/students").unwrap();

        let url = found.item(&students, "../../x?y#z");

        assert_eq!(url.as_str(), "http://h/data/v3/ed-fi/students/..%2F..%2Fx%3Fy%23z");
    }
}
