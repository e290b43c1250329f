//! From a request to its answer: which part of the API it is for, who asks, what is to go wrong,
//! and what is written down of it.

use std::sync::{Arc, Mutex, PoisonError, RwLockReadGuard, RwLockWriteGuard};

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;

use super::database::Database;
use super::document::{Json, quoted};
use super::faults::{Facts, Faults, Harm, Refusal};
use super::listener::Cut;
use super::log::{Log, LoggedRequest};
use super::options::SandboxOptions;
use super::problem::Problem;
use super::references::{is_person_endpoint, key_of};
use super::routes::oauth::Tokens;
use super::routes::{self, Route};
use super::rows::{Image, Key};
use super::standard::{ResourceModel, StandardModel};
use super::world::World;

/// The largest body that is read.
const LARGEST_BODY: usize = 64 * 1024 * 1024;

/// Everything that answers look at.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: SandboxOptions,
    pub(super) standard: Arc<StandardModel>,
    pub(super) database: Database,
    /// What credentials are taken with; at first what the options say.
    pub(super) secret: Mutex<String>,
    pub(super) tokens: Mutex<Tokens>,
    /// What `token_info` tells; what clients see is another matter (`Database::mask`).
    pub(super) education_organizations: Mutex<Vec<i64>>,
    pub(super) faults: Faults,
    pub(super) log: Log,
    /// Where the server can be found, without prefix.
    pub(super) origin: String,
}

/// One answer, before faults change it.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) media_type: &'static str,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Bytes,
}

impl Reply {
    pub(super) fn json(status: u16, body: impl Into<Bytes>) -> Reply {
        Reply {
            status,
            media_type: "application/json; charset=utf-8",
            headers: Vec::new(),
            body: body.into(),
        }
    }

    pub(super) fn empty(status: u16) -> Reply {
        Reply { status, media_type: "", headers: Vec::new(), body: Bytes::new() }
    }

    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Reply {
        self.headers.push((name, value.into()));
        self
    }
}

/// What a route sees of a request.
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) query: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Asked {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub(super) fn is_get(&self) -> bool {
        self.method == Method::GET
    }

    /// The body as text.
    pub(super) fn text(&self) -> Result<&str, Problem> {
        std::str::from_utf8(&self.body).map_err(|_| Problem::unreadable_body("it is not UTF-8"))
    }
}

impl Shared {
    pub(super) fn new(options: SandboxOptions, database: Database, origin: String) -> Shared {
        Shared {
            secret: Mutex::new(options.secret.clone()),
            tokens: Mutex::new(Tokens::default()),
            education_organizations: Mutex::new(vec![255_901]),
            faults: Faults::default(),
            log: Log::default(),
            options,
            standard: database.standard.clone(),
            database,
            origin,
        }
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, World> {
        self.database.read()
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, World> {
        self.database.write()
    }

    /// The URL that a client is configured with.
    pub(super) fn base(&self) -> String {
        let mut base = self.origin.clone();
        for segment in self.prefix() {
            base.push('/');
            base.push_str(&segment);
        }
        base
    }

    /// What stands before everything in every path.
    pub(super) fn prefix(&self) -> Vec<String> {
        let mut prefix: Vec<String> = self.options.tenant.iter().cloned().collect();
        if !self.options.version.year_is_inside() {
            prefix.extend(self.options.year.map(|year| year.to_string()));
        }
        prefix
    }

    /// What stands inside the paths of a year-specific host of the old kind: `/2022` or nothing.
    pub(super) fn year_inside(&self) -> String {
        let year = self.options.year.filter(|_| self.options.version.year_is_inside());
        year.map(|year| format!("/{year}")).unwrap_or_default()
    }

    /// Where the links of an answer from `image` lead, if there are to be any.
    pub(super) fn links<'i>(&'i self, image: &'i Image) -> Option<(&'i StandardModel, &'i Image)> {
        self.options.links.then_some((&*self.standard, image))
    }

    fn problem(&self, problem: &Problem, asked: &Asked) -> Reply {
        let version = self.options.version;
        let correlation = match asked.header("correlation-id") {
            Some(id) => id.to_owned(),
            None => format!("{:032x}", rand::random::<u128>()),
        };
        let mut reply =
            Reply::json(problem.status_on(version), problem.body_on(version, &correlation));
        reply.media_type = problem.media_type(version);
        if reply.status == 405 {
            reply = reply.header("Allow", "GET");
        }
        reply
    }
}

/// Answers one request.
pub(super) async fn answer(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(cut): ConnectInfo<Cut>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, LARGEST_BODY).await else {
        return into_response(Reply::empty(413));
    };
    let path = head.uri.path().to_owned();
    let asked = Asked {
        method: head.method,
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: head.headers,
        body,
    };
    let route = Route::of(&shared, &path);
    let key = key_asked_for(&shared, &route, &asked);
    let facts = facts(&shared, &route, &asked, key.as_ref());
    let harms = shared.faults.hitting(&facts);
    for harm in &harms {
        match harm {
            Harm::Hold(gate) => gate.pass().await,
            Harm::Slow(time) => tokio::time::sleep(*time).await,
            _ => {}
        }
    }
    let reply = match harms.iter().find_map(|harm| instead(&shared, &route, &asked, harm)) {
        Some(Instead::Reply(reply)) => Some(reply),
        Some(Instead::Nothing) => None,
        None => {
            for harm in &harms {
                before(&shared, harm);
            }
            let reply = routes::answer(&shared, &route, &asked)
                .unwrap_or_else(|problem| shared.problem(&problem, &asked));
            after(&shared, &asked, reply, &harms)
        }
    };
    shared.log.add(LoggedRequest {
        sequence: 0,
        method: asked.method.to_string(),
        path,
        part: facts.part,
        resource: facts.resource,
        key: key.map(|(number, key)| key_text(shared.standard.resource(number), &key)),
        status: reply.as_ref().map_or(0, |reply| reply.status),
        from_snapshot: routes::asks_for_snapshot(&shared, &asked),
        correlation_id: asked.header("correlation-id").map(str::to_owned),
        query: asked.query,
    });
    let Some(reply) = reply else {
        cut.now();
        return into_response(Reply::empty(500));
    };
    if harms.iter().any(|harm| matches!(harm, Harm::CutBody)) {
        return cut_response(reply);
    }
    into_response(reply)
}

/// The key of the item that the request is about.
fn key_asked_for(shared: &Shared, route: &Route, asked: &Asked) -> Option<(u16, Key)> {
    match route {
        Route::Collection(number) if asked.method == Method::POST => {
            let document = Json::parse(asked.text().ok()?).ok()?;
            let key = key_of(shared.standard.resource(*number), &document)?;
            Some((*number, key))
        }
        Route::Item(number, id) => {
            let world = shared.read();
            let row = world.find(shared.standard.resource(*number), *id)?;
            Some((*number, row.key.clone()))
        }
        _ => None,
    }
}

fn facts(shared: &Shared, route: &Route, asked: &Asked, key: Option<&(u16, Key)>) -> Facts {
    let resource = route.resource().map(|number| shared.standard.resource(number));
    let key = match (resource, key) {
        (Some(model), Some((_, key))) => model
            .key
            .iter()
            .zip(key.iter())
            .map(|(field, part)| (field.name.clone(), part.plain()))
            .collect(),
        (Some(_), None) | (None, _) => Vec::new(),
    };
    Facts {
        method: asked.method.to_string(),
        part: route.part(),
        resource: resource.map(ResourceModel::path),
        key,
    }
}

/// A key as people read it.
pub(super) fn key_text(model: &ResourceModel, key: &Key) -> String {
    let parts: Vec<String> = model
        .key
        .iter()
        .zip(key.iter())
        .map(|(field, part)| format!("{}={}", field.name, part.plain()))
        .collect();
    parts.join("&")
}

enum Instead {
    Reply(Reply),
    /// The connection ends.
    Nothing,
}

/// What a fault answers in the place of the server.
fn instead(shared: &Shared, route: &Route, asked: &Asked, harm: &Harm) -> Option<Instead> {
    let reply = match harm {
        Harm::Refuse(refusal) => shared.problem(&refused(shared, route, refusal), asked),
        Harm::Throttle { retry_after } => {
            let mut reply = Reply::json(429, "{\"message\":\"Too many requests.\"}");
            if let Some(seconds) = retry_after {
                reply = reply.header("Retry-After", seconds.to_string());
            }
            reply
        }
        Harm::Echo(status) => Reply::json(*status, quoting(asked)),
        Harm::Drop => return Some(Instead::Nothing),
        Harm::Redirect(place) => Reply::empty(302).header("Location", place.clone()),
        Harm::Html => Reply {
            status: 200,
            media_type: "text/html; charset=utf-8",
            headers: Vec::new(),
            body: Bytes::from_static(b"<html><body><h1>Sign in</h1></body></html>"),
        },
        Harm::NotAnArray => Reply::json(200, "{\"items\":[]}"),
        Harm::Empty => Reply::json(200, "[]").header("Total-Count", "0"),
        Harm::FailAfterWriting
        | Harm::DropAfterWriting
        | Harm::Hold(_)
        | Harm::Slow(_)
        | Harm::CutBody
        | Harm::InvalidUtf8
        | Harm::DropSnapshot
        | Harm::MoveSnapshot
        | Harm::ExpireTokens => return None,
    };
    Some(Instead::Reply(reply))
}

/// Problem details with all of a request in every text that they have.
fn quoting(asked: &Asked) -> String {
    let all = quoted(&format!(
        "{} ?{} Authorization: {} {}",
        asked.method,
        asked.query,
        asked.header("authorization").unwrap_or_default(),
        String::from_utf8_lossy(&asked.body)
    ));
    format!(
        "{{\"type\":\"urn:ed-fi:api:bad-request:data-validation-failed\",\"title\":{all},\
         \"detail\":{all},\"message\":{all},\"errors\":[{all}],\
         \"validationErrors\":{{\"$.birthDate\":[{all}],{all}:[{all}]}}}}"
    )
}

fn refused(shared: &Shared, route: &Route, refusal: &Refusal) -> Problem {
    let model = route.resource().map(|number| shared.standard.resource(number));
    let name = model.map_or("Unknown", |model| model.name.as_str());
    match refusal {
        Refusal::Validation(why) => Problem::invalid(vec![("$".to_owned(), why.clone())]),
        Refusal::Member(name, why) => Problem::invalid(vec![(format!("$.{name}"), why.clone())]),
        Refusal::Unauthenticated => Problem::unauthenticated("Invalid token"),
        Refusal::NoRelationship => {
            let member = model.and_then(|model| model.key_names().next()).unwrap_or_default();
            Problem::no_relationship(member, "StudentSchoolAssociation")
        }
        Refusal::ResourceClosed => Problem::resource_closed(name),
        Refusal::NoSuchResource => Problem::no_such_route(),
        Refusal::UnresolvedReference(entity) => {
            let is_person = shared
                .standard
                .resources
                .iter()
                .any(|model| model.name == *entity && is_person_endpoint(&model.endpoint));
            Problem::unresolved_reference(entity, is_person)
        }
        Refusal::KeyTaken => Problem::key_taken(name),
        Refusal::Status(status) if *status >= 500 => Problem::system(*status),
        Refusal::Status(status) => {
            Problem::scripted(*status, "bad-request", "The request was refused.")
        }
    }
}

/// What a fault does before the server answers.
fn before(shared: &Shared, harm: &Harm) {
    match harm {
        Harm::DropSnapshot => shared.write().snapshots.drop_all(),
        Harm::MoveSnapshot => shared.write().take_snapshot(),
        Harm::ExpireTokens => {
            shared.tokens.lock().unwrap_or_else(PoisonError::into_inner).expire_all();
        }
        _ => {}
    }
}

/// What a fault makes of the server's answer.
fn after(shared: &Shared, asked: &Asked, reply: Reply, harms: &[Harm]) -> Option<Reply> {
    let mut reply = reply;
    for harm in harms {
        match harm {
            Harm::FailAfterWriting => reply = shared.problem(&Problem::system(500), asked),
            Harm::DropAfterWriting => return None,
            Harm::InvalidUtf8 => {
                let middle = reply.body.len() / 2;
                let mut bytes = reply.body[..middle].to_vec();
                bytes.extend_from_slice(&[0xff, 0xfe]);
                bytes.extend_from_slice(&reply.body[middle..]);
                reply.body = bytes.into();
            }
            _ => {}
        }
    }
    Some(reply)
}

fn into_response(reply: Reply) -> Response {
    let body = Body::from(reply.body.clone());
    with_head(&reply, body)
}

/// Announces all of the body and sends half of it.
fn cut_response(reply: Reply) -> Response {
    let half = reply.body.slice(..reply.body.len() / 2);
    let parts = futures_util::stream::unfold(Some(half), async |half| match half {
        Some(half) => Some((Ok(half), None)),
        None => {
            // Being pending once lets the connection send what it has.
            tokio::task::yield_now().await;
            Some((Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset)), None))
        }
    });
    let mut response = with_head(&reply, Body::from_stream(parts));
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(reply.body.len()));
    response
}

fn with_head(reply: &Reply, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() =
        StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    if !reply.media_type.is_empty() {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(reply.media_type));
    }
    for (name, value) in &reply.headers {
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value))
        {
            headers.insert(name, value);
        }
    }
    response
}
