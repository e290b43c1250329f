//! Everything of one resource, page by page, on live data: for `verify` alone.

use std::sync::Arc;

use async_trait::async_trait;

use super::{At, found};
use crate::domain::{Position, ResourcePath};
use crate::edfi::{Api, Discovery, lookup as asking};
use crate::http::ApiRequest;
use crate::targets::{Found, FoundPages, WriteError};

/// Cursors where the server has them, else offsets. Page sizes are the server's own: what it
/// gives when not asked is also the most that it gives (`edfi-wire §4`).
pub(super) struct Pages {
    api: Arc<Api>,
    resource: ResourcePath,
    next: Next,
    /// The cursor of the page that came last. Offsets are no places: what is there moves (R12).
    came_from: Option<String>,
}

enum Next {
    First,
    Cursor(String),
    Offset(u64),
    End,
}

impl Pages {
    pub(super) fn new(api: Arc<Api>, resource: ResourcePath) -> Pages {
        Pages { api, resource, next: Next::First, came_from: None }
    }

    /// From the page on that a cursor of this server begins with.
    pub(super) fn from(api: Arc<Api>, resource: ResourcePath, position: &Position) -> Pages {
        Pages { api, resource, next: Next::Cursor(position.0.clone()), came_from: None }
    }

    fn request(&self, discovery: &Discovery) -> Option<ApiRequest> {
        let mut url = discovery.collection(&self.resource);
        match &self.next {
            Next::First => {}
            Next::Cursor(token) => {
                url.query_pairs_mut().append_pair("pageToken", token);
            }
            Next::Offset(offset) => url = asking::beginning_at(url, *offset),
            Next::End => return None,
        }
        Some(ApiRequest::get(url))
    }

    /// With cursors the missing token ends the feed, with offsets the empty page does (R10).
    fn after(&self, cursors: bool, token: Option<&str>, seen: u64) -> Next {
        match (&self.next, token) {
            (_, Some(token)) if cursors => Next::Cursor(token.to_owned()),
            (Next::Cursor(_), _) => Next::End,
            (_, _) if seen == 0 => Next::End,
            (Next::Offset(offset), _) => Next::Offset(offset + seen),
            (_, _) if cursors => Next::End,
            (_, _) => Next::Offset(seen),
        }
    }
}

#[async_trait]
impl FoundPages for Pages {
    async fn next(&mut self) -> Result<Option<Vec<Found>>, WriteError> {
        let discovery = self.api.discovered().await?;
        let shape = self.api.key_shape(&self.resource).await?;
        while let Some(request) = self.request(&discovery) {
            let at = At { api: &self.api, doing: "reading", resource: Some(&self.resource) };
            let answer = at.send(request).await?;
            let page = at.page(&answer)?;
            let token = answer.header("next-page-token").filter(|token| !token.is_empty());
            let next = self.after(discovery.dialect.cursor_paging, token, page.len() as u64);
            if let (Next::Cursor(before), Next::Cursor(after)) = (&self.next, &next)
                && before == after
            {
                return Err(at.shape("the page tokens go round in a circle".to_owned()));
            }
            self.came_from = match std::mem::replace(&mut self.next, next) {
                Next::Cursor(token) => Some(token),
                Next::First | Next::Offset(_) | Next::End => None,
            };
            if !page.is_empty() {
                return Ok(Some(page.into_iter().map(|i| found(i, shape.as_deref())).collect()));
            }
        }
        Ok(None)
    }

    fn position(&self) -> Option<Position> {
        self.came_from.clone().map(Position)
    }
}
