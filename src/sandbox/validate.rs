//! What a server checks in a body before it looks at other items: members, types, lengths, and
//! that what must be equal is (edfi-wire §7).

use super::document::{Json, Path};
use super::problem::Problem;
use super::references::descriptor_row;
use super::rows::Image;
use super::standard::{FieldKind, FieldModel, ResourceModel};

/// Refuses what a server refuses with 400.
pub(super) fn validate(
    image: &Image,
    model: &ResourceModel,
    document: &Json<'_>,
) -> Result<(), Problem> {
    let mut wrong = Vec::new();
    for field in &model.fields {
        check_field(model, field, document, &mut wrong);
    }
    check_references(model, document, &mut wrong);
    check_key_strings(model, document, &mut wrong);
    check_equal(model, document, &mut wrong);
    check_collections(model, document, &mut wrong);
    if wrong.is_empty() {
        check_descriptors(image, model, document, &mut wrong);
    }
    if wrong.is_empty() { Ok(()) } else { Err(Problem::invalid(wrong)) }
}

type Wrong = Vec<(String, String)>;

fn check_field(model: &ResourceModel, field: &FieldModel, document: &Json<'_>, wrong: &mut Wrong) {
    let steps = &field.path.0;
    let Some((last, before)) = steps.split_last() else { return };
    let mut holders = Vec::new();
    document.all_at(before, &mut holders);
    for holder in holders {
        match holder.get(&last.name).filter(|value| !value.is_null()) {
            Some(value) => {
                if let Some(why) = mistake(field, value).or_else(|| {
                    (field.required && is_default(model, field, value)).then(|| is_required(field))
                }) {
                    wrong.push((field.path.to_string(), why));
                }
            }
            None if field.required && !is_inside_reference(model, &field.path) => {
                wrong.push((field.path.to_string(), is_required(field)));
            }
            None => {}
        }
    }
}

fn is_required(field: &FieldModel) -> String {
    format!("{} is required.", field.path.leaf())
}

/// A server takes the default of a type for a value that is not there: 0 and an empty text are as
/// good as nothing, 0.0 and false are values.
fn is_default(model: &ResourceModel, field: &FieldModel, value: &Json<'_>) -> bool {
    if is_inside_reference(model, &field.path) {
        return false;
    }
    match field.kind {
        FieldKind::Int32 | FieldKind::Int64 => is_zero(value),
        FieldKind::String | FieldKind::Descriptor => {
            value.text().is_some_and(|text| text.trim().is_empty())
        }
        FieldKind::Decimal
        | FieldKind::Boolean
        | FieldKind::Date
        | FieldKind::Time
        | FieldKind::DateTime => false,
    }
}

fn is_zero(value: &Json<'_>) -> bool {
    value.raw().is_some_and(|raw| raw.parse() == Ok(0_i64))
}

/// Partial references have a message of their own.
fn is_inside_reference(model: &ResourceModel, path: &Path) -> bool {
    let holder = &path.0[..path.0.len() - 1];
    model.references.iter().any(|reference| reference.path.0 == holder)
}

fn mistake(field: &FieldModel, value: &Json<'_>) -> Option<String> {
    let name = field.path.leaf();
    let Some(raw) = value.raw() else {
        return Some(format!("{name} must be a single value."));
    };
    let is_right = match field.kind {
        FieldKind::Int32 => raw.parse::<i32>().is_ok(),
        FieldKind::Int64 => raw.parse::<i64>().is_ok(),
        FieldKind::Decimal => raw.parse::<f64>().is_ok(),
        FieldKind::Boolean => raw == "true" || raw == "false",
        FieldKind::String | FieldKind::Descriptor => value.is_string(),
        FieldKind::Date => value.text().is_some_and(|text| is_date(&text)),
        FieldKind::Time => value.text().is_some_and(|text| is_time(&text)),
        FieldKind::DateTime => {
            value.text().is_some_and(|text| text.len() >= 10 && is_date(&text[..10]))
        }
    };
    if !is_right {
        return Some(format!("The value for {name} is not a valid {:?}.", field.kind));
    }
    match field.kind {
        FieldKind::String => bad_text(field, &value.text()?),
        FieldKind::Decimal => out_of_range(field, raw),
        FieldKind::Int32
        | FieldKind::Int64
        | FieldKind::Boolean
        | FieldKind::Date
        | FieldKind::Time
        | FieldKind::DateTime
        | FieldKind::Descriptor => None,
    }
}

fn bad_text(field: &FieldModel, text: &str) -> Option<String> {
    let name = field.path.leaf();
    if is_dangerous(text) {
        return Some(format!("{name} contains a potentially dangerous value."));
    }
    let longest = field.max_length.filter(|longest| text.chars().count() > *longest)?;
    Some(format!("The field {name} must have a maximum length of {longest} characters."))
}

/// What could begin a tag or a character reference of HTML. A lone `<` is none.
fn is_dangerous(text: &str) -> bool {
    text.as_bytes().windows(2).any(|pair| match pair {
        [b'<', next] => next.is_ascii_alphabetic() || matches!(next, b'!' | b'/' | b'?'),
        [b'&', b'#'] => true,
        _ => false,
    })
}

/// A number that the column has no room for. Digits after the point are rounded, never refused.
fn out_of_range(field: &FieldModel, raw: &str) -> Option<String> {
    let digits = field.digits?;
    let whole = "9".repeat(digits.precision - digits.scale);
    let largest =
        format!("{}.{}", if whole.is_empty() { "0" } else { &whole }, "9".repeat(digits.scale));
    let is_inside = raw.parse::<f64>().ok()?.abs() <= largest.parse::<f64>().ok()?;
    (!is_inside).then(|| format!("{} must be between -{largest} and {largest}.", field.path.leaf()))
}

fn is_date(text: &str) -> bool {
    chrono::NaiveDate::parse_from_str(text.get(..10).unwrap_or(text), "%Y-%m-%d").is_ok()
}

fn is_time(text: &str) -> bool {
    chrono::NaiveTime::parse_from_str(text, "%H:%M:%S%.f").is_ok()
}

fn check_references(model: &ResourceModel, document: &Json<'_>, wrong: &mut Wrong) {
    for reference in &model.references {
        let Some((last, before)) = reference.path.0.split_last() else { continue };
        let mut holders = Vec::new();
        document.all_at(before, &mut holders);
        for holder in holders {
            let Some(object) = holder.get(&last.name).filter(|value| !value.is_null()) else {
                if reference.required {
                    let why = format!("{} is required.", last.name);
                    wrong.push((reference.path.to_string(), why));
                }
                continue;
            };
            let objects = match object {
                Json::Array(items) if last.each => items.iter().collect(),
                Json::Array(_) | Json::Object(_) | Json::Scalar(_) => vec![object],
            };
            for object in objects {
                let missing: Vec<&str> = reference
                    .members
                    .iter()
                    .filter(|member| {
                        object.get(member).is_none_or(|value| value.is_null() || is_zero(value))
                    })
                    .map(String::as_str)
                    .collect();
                if !missing.is_empty() {
                    let why = format!(
                        "{} is missing the following properties: {}",
                        last.name,
                        missing.join(", ")
                    );
                    wrong.push((reference.path.to_string(), why));
                }
            }
        }
    }
}

fn check_key_strings(model: &ResourceModel, document: &Json<'_>, wrong: &mut Wrong) {
    for field in &model.key {
        let Some(text) = document.at(&field.path).and_then(Json::text) else { continue };
        if text.trim() != text {
            let why = format!("{} cannot contain leading or trailing spaces.", field.path.leaf());
            wrong.push((field.path.to_string(), why));
        }
    }
}

/// Unified keys: the same column of the database, so the same value wherever it stands.
fn check_equal(model: &ResourceModel, document: &Json<'_>, wrong: &mut Wrong) {
    for (one, other) in &model.equal {
        if !one.is_single() || !other.is_single() || are_distinct_key_parts(model, one, other) {
            continue;
        }
        let (Some(first), Some(second)) = (document.at(one), document.at(other)) else { continue };
        if first.text() != second.text() {
            let why = format!(
                "All values supplied for '{}' must match. Review all references and align the \
                 '{}' values.",
                one.leaf(),
                one.leaf()
            );
            wrong.push((one.to_string(), why.clone()));
            wrong.push((other.to_string(), why));
        }
    }
}

/// Some pairs are columns of their own (a grade's school year and its grading period's).
pub(super) fn are_distinct_key_parts(model: &ResourceModel, one: &Path, other: &Path) -> bool {
    let has = |path: &Path| model.key.iter().any(|field| field.path == *path);
    has(one) && has(other)
}

fn check_collections(model: &ResourceModel, document: &Json<'_>, wrong: &mut Wrong) {
    for collection in &model.collections {
        let Some((last, before)) = collection.path.0.split_last() else { continue };
        let mut holders = Vec::new();
        document.all_at(before, &mut holders);
        for holder in holders {
            let Some(Json::Array(items)) = holder.get(&last.name) else { continue };
            let mut seen = std::collections::HashSet::new();
            for (number, item) in items.iter().enumerate() {
                let identity: Vec<Option<String>> = collection
                    .identity
                    .iter()
                    .map(|path| Some(item.at(path)?.text()?.into_owned()))
                    .collect();
                if !identity.is_empty() && !seen.insert(identity) {
                    let why = format!(
                        "The {} item of the {} has the same identifying values as another item \
                         earlier in the list.",
                        ordinal(number + 1),
                        last.name
                    );
                    wrong.push((format!("{}[{number}]", collection.path), why));
                }
            }
        }
    }
}

fn ordinal(number: usize) -> String {
    let ending = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

fn check_descriptors(image: &Image, model: &ResourceModel, document: &Json<'_>, wrong: &mut Wrong) {
    for used in &model.descriptors {
        let mut values = Vec::new();
        document.all_at(&used.path.0, &mut values);
        for value in values {
            let Some(text) = value.text() else { continue };
            if descriptor_row(image, used.target, &text).is_none() {
                let why = format!("{} value '{text}' does not exist.", used.entity);
                wrong.push((used.path.to_string(), why));
            }
        }
    }
}
