//! What the server says when it refuses: one meaning, in the words of the version it plays
//! (edfi-wire §6). Problem details since 7.2; before that, a message.

use std::ops::{Deref, DerefMut};

use super::document::quoted;
use super::version::{ApiVersion, ErrorStyle, SnapshotHeader};

/// A refusal, in both forms. Boxed, since it travels in the rare half of every result.
#[derive(Clone, Debug)]
pub(super) struct Problem(Box<Words>);

#[derive(Clone, Debug)]
pub(super) struct Words {
    pub(super) status: u16,
    /// What follows `urn:ed-fi:api:`.
    pub(super) kind: &'static str,
    pub(super) title: &'static str,
    pub(super) detail: String,
    pub(super) errors: Vec<String>,
    /// JSON path to what is wrong there.
    pub(super) invalid: Vec<(String, String)>,
    /// What versions before 7.2 say, and with which status if another.
    pub(super) old_message: String,
    pub(super) old_status: u16,
    /// What 8 says instead of `kind` and `detail`, and of each member that leads nowhere.
    pub(super) kind_of_8: Option<&'static str>,
    pub(super) detail_of_8: Option<String>,
    pub(super) unresolved: Vec<(String, String)>,
    /// Answered by the middleware, which uses another media type.
    pub(super) by_middleware: bool,
}

impl Deref for Problem {
    type Target = Words;

    fn deref(&self) -> &Words {
        &self.0
    }
}

impl DerefMut for Problem {
    fn deref_mut(&mut self) -> &mut Words {
        &mut self.0
    }
}

impl Problem {
    fn new(status: u16, kind: &'static str, title: &'static str, detail: &str) -> Problem {
        Problem(Box::new(Words {
            status,
            kind,
            title,
            detail: detail.to_owned(),
            errors: Vec::new(),
            invalid: Vec::new(),
            old_message: detail.to_owned(),
            old_status: status,
            kind_of_8: None,
            detail_of_8: None,
            unresolved: Vec::new(),
            by_middleware: false,
        }))
    }

    fn error(mut self, error: impl Into<String>) -> Problem {
        self.errors.push(error.into());
        self
    }

    fn old(mut self, message: impl Into<String>) -> Problem {
        self.old_message = message.into();
        self
    }

    fn old_status(mut self, status: u16) -> Problem {
        self.old_status = status;
        self
    }

    fn in_8(mut self, kind: &'static str, detail: &str) -> Problem {
        self.kind_of_8 = Some(kind);
        self.detail_of_8 = Some(detail.to_owned());
        self
    }

    fn middleware(mut self) -> Problem {
        self.by_middleware = true;
        self
    }

    pub(super) fn unreadable_body(why: &str) -> Problem {
        Problem::new(
            400,
            "bad-request",
            "Bad Request",
            "The request could not be processed. See 'errors' for details.",
        )
        .error(format!("The body is not a JSON object: {why}"))
        .old("The request is invalid.")
    }

    pub(super) fn identifier_in_body() -> Problem {
        const WHY: &str = "Resource identifiers cannot be assigned by the client. The 'id' \
                           property should not be included in the request body.";
        Problem::new(
            400,
            "bad-request:data-validation-failed",
            "Data Validation Failed",
            "The request data was constructed incorrectly.",
        )
        .error(WHY)
        .old("Resource identifiers cannot be assigned by the client.")
    }

    /// What only the strict sandbox refuses.
    pub(super) fn server_member_in_body(name: &str) -> Problem {
        let why = format!("The member '{name}' belongs to the server and must not be sent.");
        Problem::new(
            400,
            "bad-request:data-validation-failed",
            "Data Validation Failed",
            "The request data was constructed incorrectly.",
        )
        .error(why.clone())
        .old(why)
    }

    pub(super) fn invalid(invalid: Vec<(String, String)>) -> Problem {
        let mut problem = Problem::new(
            400,
            "bad-request:data-validation-failed",
            "Data Validation Failed",
            "Data validation failed. See 'validationErrors' for details.",
        )
        .old("The request is invalid.");
        problem.invalid = invalid;
        problem
    }

    pub(super) fn parameter(error: &str) -> Problem {
        Problem::new(
            400,
            "bad-request:parameter-validation-failed",
            "Parameter Validation Failed",
            "The request construction was invalid.",
        )
        .error(error)
        .old(error)
    }

    pub(super) fn key_change_not_supported(name: &str) -> Problem {
        Problem::new(
            400,
            "bad-request:data-validation-failed:key-change-not-supported",
            "Key Change Not Supported",
            &format!(
                "Identifying values for the {name} data cannot be changed. Delete and recreate \
                 the item instead."
            ),
        )
    }

    pub(super) fn unauthenticated(error: &str) -> Problem {
        Problem::new(
            401,
            "security:authentication",
            "Authentication Failed",
            "The caller could not be authenticated.",
        )
        .error(error)
        .old(error)
        .middleware()
    }

    pub(super) fn no_relationship(member: &str, association: &str) -> Problem {
        let mut capital = member.to_owned();
        if let Some(first) = capital.get_mut(0..1) {
            first.make_ascii_uppercase();
        }
        let error = format!(
            "No relationships have been established between the caller's education organization \
             id claims ('255901') and the resource item's '{capital}' value."
        );
        Problem::new(
            403,
            "security:authorization",
            "Authorization Denied",
            &format!(
                "Access to the requested data could not be authorized. Hint: You may need to \
                 create a corresponding '{association}' item."
            ),
        )
        .old(format!("Authorization denied. {error}"))
        .error(error)
    }

    /// The namespace begins with none of the caller's, whether it stands there or is to be written.
    pub(super) fn foreign_namespace(prefixes: &[String], is_existing: bool) -> Problem {
        let existing = if is_existing { "existing " } else { "" };
        let prefixes = format!("'{}'", prefixes.join("', '"));
        let told = |access: &str, of: &str| {
            format!(
                "Access to the {access} could not be authorized. The {existing}'Namespace' value \
                 of the {of} does not start with any of the caller's associated namespace \
                 prefixes ({prefixes})."
            )
        };
        const KIND: &str = "security:authorization:namespace:access-denied:namespace-mismatch";
        Problem::new(403, KIND, "Authorization Denied", &told("resource", "resource"))
            .in_8(KIND, &told("requested data", "data"))
            .old(format!(
                "Access to the resource item could not be authorized based on the caller's \
                 NamespacePrefix claims: {prefixes}."
            ))
    }

    pub(super) fn resource_closed(name: &str) -> Problem {
        Problem::new(
            403,
            "security:authorization:access-denied:resource",
            "Authorization Denied",
            "Access to the resource could not be authorized.",
        )
        .error(format!(
            "The API client's assigned claim set (currently 'Sandbox') must grant permission of \
             the resource '{name}'."
        ))
        .old("Access to the resource could not be authorized. Are you missing a claim?")
    }

    pub(super) fn action_closed(action: &str, name: &str) -> Problem {
        Problem::new(
            403,
            "security:authorization:access-denied:action",
            "Authorization Denied",
            "Access to the resource could not be authorized for the requested action.",
        )
        .error(format!(
            "The API client's assigned claim set (currently 'Sandbox') must grant permission of \
             the '{action}' action on '{name}'."
        ))
        .old("Access to the resource could not be authorized. Are you missing a claim?")
    }

    pub(super) fn no_such_route() -> Problem {
        Problem::new(404, "not-found", "Not Found", "The specified data could not be found.")
            .old("The specified resource could not be found.")
            .middleware()
    }

    pub(super) fn no_such_item() -> Problem {
        Problem::new(404, "not-found", "Not Found", "The specified item could not be found.")
            .old("The specified resource could not be found.")
    }

    pub(super) fn nothing_to_update() -> Problem {
        Problem::new(404, "not-found", "Not Found", "Resource to update was not found.")
    }

    pub(super) fn nothing_to_delete() -> Problem {
        Problem::new(404, "not-found", "Not Found", "Resource to delete was not found.")
    }

    /// Servers with a list of snapshots say that the named one has gone.
    pub(super) fn no_snapshot(header: SnapshotHeader) -> Problem {
        let problem = Problem::new(404, "not-found", "Not Found", "Snapshot not found.")
            .error("The snapshot connection for the ODS has not been configured.");
        match header {
            SnapshotHeader::Identifier => problem.old("Snapshot not available.").old_status(410),
            SnapshotHeader::UseSnapshot | SnapshotHeader::Ignored => problem,
        }
    }

    /// What 8 says of a PUT whose body is about another item, or does not say about which.
    pub(super) fn identifier_differs() -> Problem {
        Problem::new(
            400,
            "bad-request",
            "Bad Request",
            "The request could not be processed. See 'errors' for details.",
        )
        .error("Request body id must match the id in the url.")
    }

    pub(super) fn feature_disabled(feature: &str) -> Problem {
        Problem::new(
            404,
            "system:configuration:feature-disabled",
            "Feature Disabled",
            &format!("The '{feature}' feature is disabled."),
        )
    }

    pub(super) fn method_not_allowed() -> Problem {
        Problem::new(
            405,
            "method-not-allowed",
            "Method Not Allowed",
            "The request construction was invalid.",
        )
        .old("The requested resource does not support that method.")
        .middleware()
    }

    pub(super) fn snapshots_are_read_only() -> Problem {
        Problem::new(
            405,
            "snapshots:method-not-allowed",
            "Method Not Allowed with Snapshots",
            "The method is not allowed when a snapshot is in use.",
        )
        .error("Snapshots are read-only.")
        .middleware()
    }

    /// Names the members that lead nowhere and the entities they should lead to, which 8 tells.
    pub(super) fn leading_nowhere<'a>(
        mut self,
        members: impl Iterator<Item = (String, &'a str)>,
    ) -> Problem {
        self.unresolved = members
            .map(|(path, entity)| (path, format!("The referenced {entity} item does not exist.")))
            .collect();
        self
    }

    /// A missing person is a mistake of the request to old servers, a conflict to new ones.
    pub(super) fn unresolved_reference(entity: &str, is_person: bool) -> Problem {
        let mut related = entity.to_owned();
        if let Some(first) = related.get_mut(0..1) {
            first.make_ascii_lowercase();
        }
        let problem = Problem::new(
            409,
            "data-conflict:unresolved-reference",
            "Unresolved Reference",
            &format!("The referenced '{entity}' item does not exist."),
        )
        .leading_nowhere([(format!("$.{related}Reference"), entity)].into_iter())
        .in_8(
            "data-conflict:unresolved-reference",
            "One or more references could not be resolved. See 'validationErrors' for details.",
        );
        if is_person {
            let message = format!("{entity} reference could not be resolved.");
            return problem.old(message).old_status(400);
        }
        problem
            .old(format!("The value supplied for the related '{related}' resource does not exist."))
    }

    pub(super) fn dependent_item(entity: &str, by: &str) -> Problem {
        Problem::new(
            409,
            "data-conflict:dependent-item-exists",
            "Dependent Item Exists",
            &format!(
                "The requested action cannot be performed because this item is referenced by an \
                 existing '{by}' item."
            ),
        )
        .in_8(
            "data-conflict:dependent-item-exists",
            &format!(
                "The requested action cannot be performed because this item is referenced by \
                 existing {by} item(s)."
            ),
        )
        .old(format!(
            "The resource (or a subordinate entity of the resource) cannot be deleted because it \
             is a dependency of the '{by}' entity that refers to '{entity}'."
        ))
    }

    pub(super) fn key_taken(entity: &str) -> Problem {
        Problem::new(
            409,
            "data-conflict:non-unique-identity",
            "Identifying Values Are Not Unique",
            "The identifying value(s) of the item are the same as another item that already \
             exists.",
        )
        .error(format!("A primary key conflict occurred when writing '{entity}'."))
        .in_8(
            "identity-conflict",
            "The identifying value(s) of the item are the same as another item that already \
             exists.",
        )
        .old(format!("The value(s) supplied for the '{entity}' key are not unique."))
    }

    pub(super) fn modified_by_another() -> Problem {
        Problem::new(
            412,
            "optimistic-lock-failed",
            "Optimistic Lock Failed",
            "The item has been modified by another user.",
        )
        .error("The resource item's etag value does not match what was specified in the request.")
        .old("Resource was modified by another consumer.")
    }

    pub(super) fn unsupported_media_type() -> Problem {
        Problem::new(
            415,
            "unsupported-media-type",
            "Unsupported Media Type",
            "The value specified in the 'Content-Type' header is not supported.",
        )
        .middleware()
    }

    pub(super) fn too_many_tokens(limit: usize) -> Problem {
        Problem::new(
            429,
            "security:authentication:too-many-tokens",
            "Too Many Tokens",
            "The caller could not be authenticated.",
        )
        .error(format!(
            "Too many access tokens have been requested (limit is {limit}). Access will be \
             available when existing tokens expire."
        ))
    }

    pub(super) fn system(status: u16) -> Problem {
        Problem::new(status, "system", "System Error", "An unexpected problem has occurred.")
            .old("An unexpected error occurred on the server.")
    }

    /// What a script of faults asked for.
    pub(super) fn scripted(status: u16, kind: &'static str, detail: &str) -> Problem {
        Problem::new(status, kind, "Refused", detail)
    }

    /// The status that the version answers with.
    pub(super) fn status_on(&self, version: ApiVersion) -> u16 {
        match version.errors() {
            ErrorStyle::Message | ErrorStyle::MessageAndCorrelation => self.old_status,
            ErrorStyle::ProblemDetails | ErrorStyle::WholeProblemDetails => self.status,
        }
    }

    /// The media type that the version answers with.
    pub(super) fn media_type(&self, version: ApiVersion) -> &'static str {
        match version.errors() {
            ErrorStyle::ProblemDetails if self.by_middleware => "application/problem+json",
            ErrorStyle::WholeProblemDetails => "application/problem+json",
            ErrorStyle::Message
            | ErrorStyle::MessageAndCorrelation
            | ErrorStyle::ProblemDetails => "application/json; charset=utf-8",
        }
    }

    /// The body that the version answers with.
    pub(super) fn body_on(&self, version: ApiVersion, correlation: &str) -> String {
        match version.errors() {
            ErrorStyle::Message => format!("{{{}}}", self.message()),
            ErrorStyle::MessageAndCorrelation => {
                format!("{{{},\"correlationId\":{}}}", self.message(), quoted(correlation))
            }
            ErrorStyle::ProblemDetails => self.details(correlation),
            ErrorStyle::WholeProblemDetails => self.whole_details(correlation),
        }
    }

    fn details(&self, correlation: &str) -> String {
        let mut out = self.head_of_details(self.kind, &self.detail, correlation);
        if !self.invalid.is_empty() {
            out.push_str(&format!(",\"validationErrors\":{}", by_path(&self.invalid)));
        }
        if !self.errors.is_empty() {
            out.push_str(&format!(",\"errors\":[{}]", self.quoted_errors()));
        }
        out.push('}');
        out
    }

    fn whole_details(&self, correlation: &str) -> String {
        let kind = self.kind_of_8.unwrap_or(self.kind);
        let detail = self.detail_of_8.as_deref().unwrap_or(&self.detail);
        let invalid = if self.unresolved.is_empty() { &self.invalid } else { &self.unresolved };
        format!(
            "{},\"validationErrors\":{},\"errors\":[{}]}}",
            self.head_of_details(kind, detail, correlation),
            by_path(invalid),
            self.quoted_errors()
        )
    }

    fn head_of_details(&self, kind: &str, detail: &str, correlation: &str) -> String {
        format!(
            "{{\"detail\":{},\"type\":{},\"title\":{},\"status\":{},\"correlationId\":{}",
            quoted(detail),
            quoted(&format!("urn:ed-fi:api:{kind}")),
            quoted(self.title),
            self.status,
            quoted(correlation)
        )
    }

    fn quoted_errors(&self) -> String {
        let errors: Vec<String> = self.errors.iter().map(|error| quoted(error)).collect();
        errors.join(",")
    }

    /// The members of the old form.
    fn message(&self) -> String {
        let mut out = format!("\"message\":{}", quoted(&self.old_message));
        if !self.invalid.is_empty() {
            let entries: Vec<String> = self
                .invalid
                .iter()
                .map(|(path, why)| {
                    let place = path.replacen('$', "request", 1);
                    format!("{}:[{}]", quoted(&place), quoted(why))
                })
                .collect();
            out.push_str(&format!(",\"modelState\":{{{}}}", entries.join(",")));
        }
        out
    }
}

/// What is wrong where, as the object of `validationErrors`.
fn by_path(wrong: &[(String, String)]) -> String {
    let entries: Vec<String> =
        wrong.iter().map(|(path, why)| format!("{}:[{}]", quoted(path), quoted(why))).collect();
    format!("{{{}}}", entries.join(","))
}
