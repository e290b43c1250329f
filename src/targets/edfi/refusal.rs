//! What a refusal means for the engine: the table "Answers of a target", in code.

use crate::domain::ParkReason;
use crate::edfi::{Meaning, Problem};
use crate::targets::{Disposition, Refusal};

/// What was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    Post,
    /// Always a rename: plain updates are POSTs.
    Put,
    Delete,
    Read,
}

/// What the engine does about it, and what may be kept of it. 2xx, 404 on DELETE and on GET by id
/// are no refusals; 401, 408, 429, 5xx and 3xx never come this far (`http/`).
pub(super) fn classify(doing: Doing, problem: Problem) -> (Disposition, Refusal) {
    let disposition = match problem.status {
        400 | 422 => bad_content(doing, problem.meaning),
        403 => forbidden(problem.meaning),
        404 | 405 | 410 => absent(doing),
        409 => conflict(doing, problem.meaning),
        412 => Disposition::ReadAgain,
        413 | 414 => Disposition::Park(ParkReason::TooLarge),
        _ => Disposition::Park(ParkReason::Invalid),
    };
    let refusal = Refusal {
        status: problem.status,
        kind: problem.kind,
        members: problem.members,
        detail: problem.detail,
        missing: problem.missing,
    };
    (disposition, refusal)
}

fn bad_content(doing: Doing, meaning: Meaning) -> Disposition {
    match (doing, meaning) {
        // Whatever it was that a rename met, plain agreement either gets past it or is told (R6).
        (Doing::Put, _) => Disposition::PlainAgreement,
        // Up to 7.1 a person that is not there is a validation error.
        (Doing::Post, Meaning::UnresolvedReference) => Disposition::ResolveReference,
        (Doing::Post | Doing::Delete | Doing::Read, _) => Disposition::Park(ParkReason::Invalid),
    }
}

fn forbidden(meaning: Meaning) -> Disposition {
    match meaning {
        Meaning::ClaimDenied | Meaning::NamespaceDenied | Meaning::ProfileDenied => {
            Disposition::CloseResource
        }
        Meaning::UnresolvedReference
        | Meaning::DependentItem
        | Meaning::IdentityTaken
        | Meaning::ValueTaken
        | Meaning::KeyChangeNotSupported
        | Meaning::Contended
        | Meaning::SnapshotMissing
        | Meaning::FeatureDisabled
        | Meaning::Plain => Disposition::AwaitAssociation,
    }
}

fn absent(doing: Doing) -> Disposition {
    match doing {
        // The id is gone, or PUT is not offered: the collection may well be there.
        Doing::Put => Disposition::PlainAgreement,
        Doing::Post | Doing::Delete | Doing::Read => Disposition::CloseResource,
    }
}

fn conflict(doing: Doing, meaning: Meaning) -> Disposition {
    match (doing, meaning) {
        (_, Meaning::Contended) => Disposition::ReadAgain,
        (Doing::Put, _) => Disposition::PlainAgreement,
        (Doing::Delete, _) => Disposition::AwaitDeletes(ParkReason::StillReferenced),
        (Doing::Post, Meaning::IdentityTaken | Meaning::ValueTaken) => {
            Disposition::AwaitDeletes(ParkReason::Taken)
        }
        // A 409 to a POST that does not say why is, on the old hosts, a foreign key that was hurt.
        (Doing::Post, _) => Disposition::ResolveReference,
        (Doing::Read, _) => Disposition::Park(ParkReason::Contended),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disposition(doing: Doing, status: u16, body: &str) -> Disposition {
        classify(doing, Problem::parse(status, body.as_bytes())).0
    }

    /// A problem-details body of 7.2 and later.
    fn new(kind: &str, detail: &str) -> String {
        format!(
            r#"{{"detail":"{detail}","type":"urn:ed-fi:api:{kind}","title":"T","status":0,"correlationId":"0f1c"}}"#
        )
    }

    /// A body of 7.1 and before.
    fn old(message: &str) -> String {
        format!(r#"{{"message":"{message}"}}"#)
    }

    use Disposition::{
        AwaitAssociation, AwaitDeletes, CloseResource, Park, PlainAgreement, ReadAgain,
        ResolveReference,
    };
    use Doing::{Delete, Post, Put, Read};
    use ParkReason::{Contended, Invalid, StillReferenced, Taken, TooLarge};

    #[test]
    fn every_refusal_of_either_generation_means_what_the_table_says() {
        let unresolved = new(
            "data-conflict:unresolved-reference",
            "The referenced 'Student' item does not exist.",
        );
        let dependent = new(
            "data-conflict:dependent-item-exists",
            "The requested action cannot be performed because this item is referenced by an existing 'StudentSchoolAssociation' item.",
        );
        let identity = new(
            "data-conflict:non-unique-identity",
            "The identifying value(s) of the item are the same as another item that already exists.",
        );
        let relationship = new(
            "security:authorization:",
            "Access to the requested data could not be authorized. Hint: You may need to create a corresponding 'StudentSchoolAssociation' item.",
        );
        let invalid = new(
            "bad-request:data-validation-failed",
            "Data validation failed. See 'validationErrors' for details.",
        );
        let old_fk = old("The value supplied for the related 'student' resource does not exist.");
        let old_dependent = old(
            "The resource (or a subordinate entity of the resource) cannot be deleted because it is a dependency of the 'studentUniqueId' value of the 'studentSchoolAssociation' entity.",
        );
        let old_taken = old("The value(s) supplied for the 'student' resource are not unique.");
        let old_person = old(
            "Validation of 'StudentSchoolAssociation' failed. Student reference could not be resolved.",
        );
        let model_state = r#"{"message":"The request is invalid.","modelState":{"request.studentReference":["Student reference could not be resolved."]}}"#.to_owned();
        let cases: Vec<(Doing, u16, String, Disposition)> = vec![
            // References
            (Post, 409, unresolved.clone(), ResolveReference),
            (Post, 409, new("data-conflict:unresolved-reference", "A referenced item does not exist."), ResolveReference),
            (Post, 409, old_fk.clone(), ResolveReference),
            (Post, 400, old_person.clone(), ResolveReference),
            (Post, 400, model_state, ResolveReference),
            (Put, 409, unresolved, PlainAgreement),
            (Put, 409, old_fk, PlainAgreement),
            (Put, 400, old_person, PlainAgreement),
            // Forbidden
            (Post, 403, relationship.clone(), AwaitAssociation),
            (Put, 403, relationship.clone(), AwaitAssociation),
            (Delete, 403, relationship.clone(), AwaitAssociation),
            (Read, 403, relationship, AwaitAssociation),
            (Post, 403, new("security:authorization:relationships:access-denied:element-required", "x"), AwaitAssociation),
            (Post, 403, new("security:authorization:ownership:access-denied:ownership-mismatch", "x"), AwaitAssociation),
            (Post, 403, old("Authorization denied. The claim does not have any established relationships with the requested resource."), AwaitAssociation),
            (Post, 403, String::new(), AwaitAssociation),
            (Post, 403, "<html>Forbidden</html>".to_owned(), AwaitAssociation),
            (Post, 403, new("security:authorization:access-denied:resource", "x"), CloseResource),
            (Post, 403, new("security:authorization:access-denied:action", "x"), CloseResource),
            (Put, 403, new("security:authorization:access-denied:action", "x"), CloseResource),
            (Delete, 403, new("security:authorization:access-denied:action", "x"), CloseResource),
            (Read, 403, new("security:authorization:access-denied:resource", "x"), CloseResource),
            (Post, 403, new("security:authorization:namespace:access-denied:namespace-mismatch", "x"), CloseResource),
            (Post, 403, new("security:authorization:namespace:access-denied:namespace-required", "x"), CloseResource),
            (Post, 403, new("security:authorization:namespace:invalid-client:no-namespaces", "x"), CloseResource),
            (Post, 403, new("security:data-policy:incorrect-usage", "x"), CloseResource),
            // The collection
            (Post, 404, new("not-found", "The specified data could not be found."), CloseResource),
            (Post, 404, old("The specified resource could not be found."), CloseResource),
            (Post, 404, String::new(), CloseResource),
            (Read, 404, new("not-found", "The specified data could not be found."), CloseResource),
            (Post, 405, new("method-not-allowed", "The request construction was invalid."), CloseResource),
            (Post, 405, new("profile:method-usage", "x"), CloseResource),
            (Delete, 405, String::new(), CloseResource),
            (Put, 404, new("not-found", "Resource to update was not found."), PlainAgreement),
            (Put, 405, String::new(), PlainAgreement),
            // What still stands in the way
            (Delete, 409, dependent.clone(), AwaitDeletes(StillReferenced)),
            (Delete, 409, old_dependent, AwaitDeletes(StillReferenced)),
            (Delete, 409, String::new(), AwaitDeletes(StillReferenced)),
            (Put, 409, dependent, PlainAgreement),
            (Post, 409, identity.clone(), AwaitDeletes(Taken)),
            (Post, 409, new("data-conflict:non-unique-values", "x"), AwaitDeletes(Taken)),
            (Post, 409, new("identity-conflict", "x"), AwaitDeletes(Taken)),
            (Post, 409, old_taken.clone(), AwaitDeletes(Taken)),
            (Put, 409, identity, PlainAgreement),
            (Put, 409, old_taken, PlainAgreement),
            (Put, 400, new("bad-request:data-validation-failed:key-change-not-supported", "Identifying values for the Student data cannot be changed. Delete and recreate the item instead."), PlainAgreement),
            // Content
            (Post, 400, invalid.clone(), Park(Invalid)),
            (Put, 400, invalid, PlainAgreement),
            (Post, 400, new("bad-request", "x"), Park(Invalid)),
            (Post, 400, new("bad-request:data-policy-enforced", "x"), Park(Invalid)),
            (Post, 400, r#"{"message":"The request is invalid.","modelState":{"request.lastSurname":["LastSurname is required."]}}"#.to_owned(), Park(Invalid)),
            (Post, 400, "<html>".to_owned(), Park(Invalid)),
            (Post, 422, String::new(), Park(Invalid)),
            (Put, 422, String::new(), PlainAgreement),
            (Delete, 400, String::new(), Park(Invalid)),
            (Post, 415, String::new(), Park(Invalid)),
            (Post, 413, String::new(), Park(TooLarge)),
            (Put, 413, String::new(), Park(TooLarge)),
            (Read, 414, String::new(), Park(TooLarge)),
            // Others at the same time
            (Post, 409, new("data-conflict:multi-user-conflict", "x"), ReadAgain),
            (Put, 409, new("data-conflict:multi-user-conflict", "x"), ReadAgain),
            (Delete, 409, new("data-conflict:multi-user-conflict", "x"), ReadAgain),
            (Post, 412, new("optimistic-lock-failed", "The item has been modified by another user."), ReadAgain),
            (Delete, 412, old("Resource was modified by another consumer."), ReadAgain),
            (Read, 409, String::new(), Park(Contended)),
        ];
        for (doing, status, body, wanted) in cases {
            assert_eq!(disposition(doing, status, &body), wanted, "{doing:?} {status} {body}");
        }
    }

    #[test]
    fn what_is_kept_of_a_refusal_holds_names_and_no_values() {
        let body = r#"{"detail":"The value '604854' of Student 604854 is bad.","type":"urn:ed-fi:api:bad-request:data-validation-failed","validationErrors":{"$.birthDate":["'2010-01-13' is not valid for Ann."]}}"#;

        let (_, refusal) = classify(Post, Problem::parse(400, body.as_bytes()));

        assert_eq!(
            refusal.kind.as_deref(),
            Some("urn:ed-fi:api:bad-request:data-validation-failed")
        );
        assert_eq!(refusal.members, ["$.birthDate"]);
        assert_eq!(refusal.detail.as_deref(), Some("The value … of Student … is bad."));
        let kept = serde_json::to_string(&refusal).unwrap();
        assert!(!kept.contains("604854") && !kept.contains("Ann"), "{kept}");
    }
}
