//! Progress as server-sent events.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use futures_util::stream;
use serde::Deserialize;
use tokio::time::Instant;
use utoipa::IntoParams;

use super::given::{Asked, Asker, selectors};
use crate::desk::{Caller, fits};
use crate::server::Reception;
use crate::server::events::{Listener, Progressed};
use crate::server::problem::Problem;

/// What happens within this is told at once.
const PACE: Duration = Duration::from_millis(250);
/// A comment says that the line still stands.
const ALIVE: Duration = Duration::from_secs(15);
/// Then the client comes again, and its token is looked at again.
const LONGEST: Duration = Duration::from_secs(15 * 60);

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, deny_unknown_fields)]
pub(in crate::server) struct EventsAsked {
    /// Names or globs of publications, separated by commas.
    publication: Option<String>,
    target: Option<String>,
}

/// Progress as it happens, as server-sent events
///
/// It begins with what is under way. `Last-Event-ID` asks for nothing: the present is what is told.
#[utoipa::path(
    get, path = "/events", params(EventsAsked),
    responses((status = 200, body = Progressed, content_type = "text/event-stream"))
)]
pub(in crate::server) async fn listen_to_events(
    asker: Asker,
    State(reception): State<Arc<Reception>>,
    Asked(asked): Asked<EventsAsked>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let which = selectors(asked.publication.as_deref(), None, None, asked.target)?;
    let Some((listener, picture)) = reception.progress.listen() else {
        let detail = "too many listen already: end one of them, or come again later";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail));
    };
    let line = Line {
        reception,
        by: asker.by,
        publications: which.publications,
        target: which.target,
        listener,
        events: picture,
        until: Instant::now() + LONGEST,
        number: 0,
    };
    let told = stream::unfold(line, |mut line| async move {
        let event = line.next().await?;
        Some((Ok(event), line))
    });
    Ok(Sse::new(told).keep_alive(KeepAlive::new().interval(ALIVE)))
}

/// One client's line.
struct Line {
    reception: Arc<Reception>,
    by: Caller,
    publications: Vec<String>,
    target: Option<String>,
    listener: Arc<Listener>,
    events: VecDeque<Progressed>,
    until: Instant,
    number: u64,
}

impl Line {
    /// `None` ends the line: the daemon stops, or the client shall come again.
    async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some(event) = self.events.pop_front() {
                if self.is_for_them(&event) {
                    return self.written(&event);
                }
            }
            tokio::select! {
                () = self.reception.progress.news(&self.listener) => {}
                () = self.reception.stop.cancelled() => return None,
                () = tokio::time::sleep_until(self.until) => return None,
            }
            tokio::select! {
                () = tokio::time::sleep(PACE) => {}
                () = self.reception.stop.cancelled() => return None,
            }
            self.events = self.reception.progress.take(&self.listener);
        }
    }

    fn is_for_them(&self, event: &Progressed) -> bool {
        let Some(pair) = event.pair() else { return true };
        let is_asked_for = (self.publications.is_empty()
            || self.publications.iter().any(|glob| fits(glob, &pair.publication)))
            && self.target.as_ref().is_none_or(|target| *target == pair.target);
        is_asked_for && self.reception.answers.sees(&self.by, &pair)
    }

    fn written(&mut self, event: &Progressed) -> Option<Event> {
        self.number += 1;
        let data = serde_json::to_string(event).ok()?;
        Some(Event::default().event(event.name()).id(self.number.to_string()).data(data))
    }
}
