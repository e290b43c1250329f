//! An item as a server answers with it: the stored bytes, and what only a server says.

use super::document::quoted;
use super::rows::{Image, Row};
use super::standard::StandardModel;
use super::world::{etag_of, last_modified};

/// Writes one item; with links, if it is said where they lead.
pub(super) fn item(
    links: Option<(&StandardModel, &Image)>,
    row: &Row,
    salt: u128,
    out: &mut String,
) {
    out.push_str(&format!("{{\"id\":\"{:032x}\"", row.id ^ salt));
    let body = &row.body;
    if body.len() > 2 {
        out.push(',');
    }
    // Everything between the outer braces, with a link at the end of every reference.
    let mut written = 1;
    if let Some((standard, image)) = links {
        for (place, target) in &row.links {
            let Some(referenced) = image.row(*target) else { continue };
            let model = standard.resource(target.resource);
            out.push_str(&body[written..*place]);
            out.push_str(&format!(
                ",\"link\":{{\"rel\":{},\"href\":\"{}/{:032x}\"}}",
                quoted(&model.name),
                model.path(),
                referenced.id ^ salt
            ));
            written = *place;
        }
    }
    out.push_str(&body[written..body.len() - 1]);
    out.push_str(&format!(
        ",\"_etag\":\"{}\",\"_lastModifiedDate\":\"{}\"}}",
        etag_of(row),
        last_modified(row)
    ));
}
