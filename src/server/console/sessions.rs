//! Who has typed a token into the form, and for how long that counts.
//!
//! The one thing to know: a session keeps a hash of the token and asks with it each time, so that a
//! token which is taken away or changed ends its sessions at once. The cookie holds a random number
//! and nothing else; what is kept of that is its hash. Sessions end with the process.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

/// A night and the morning after it.
pub(super) const LASTS: Duration = Duration::from_secs(12 * 60 * 60);
/// Beyond it the one that ends first goes.
const MOST: usize = 1024;

pub(in crate::server) struct Sessions {
    open: Mutex<BTreeMap<Hash, Session>>,
    /// What forms carry of whoever has no session: the form at the door, and on loopback all.
    pub(super) without_session: String,
}

type Hash = [u8; 32];

#[derive(Clone)]
pub(super) struct Session {
    /// Hash of the token that was typed.
    pub(super) token: Hash,
    /// What its forms carry.
    pub(super) csrf: String,
    until: Instant,
}

impl Default for Sessions {
    fn default() -> Sessions {
        Sessions { open: Mutex::default(), without_session: random() }
    }
}

impl Sessions {
    /// The id of a new one, for the cookie.
    pub(super) fn begin(&self, token: Hash) -> String {
        let id = random();
        let session = Session { token, csrf: random(), until: Instant::now() + LASTS };
        let mut open = self.open();
        open.retain(|_, session| session.until > Instant::now());
        if open.len() >= MOST {
            let first = open.iter().min_by_key(|(_, session)| session.until);
            if let Some(first) = first.map(|(id, _)| *id) {
                open.remove(&first);
            }
        }
        open.insert(hash(&id), session);
        id
    }

    pub(super) fn find(&self, id: &str) -> Option<Session> {
        self.open().get(&hash(id)).filter(|session| session.until > Instant::now()).cloned()
    }

    pub(super) fn end(&self, id: &str) {
        self.open().remove(&hash(id));
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<Hash, Session>> {
        self.open.lock().expect("nothing panics while it holds the sessions")
    }
}

/// Looked up by its hash, the time that a look takes says nothing of the id.
fn hash(id: &str) -> Hash {
    Sha256::digest(id.as_bytes()).into()
}

fn random() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_session_ends_by_itself_and_when_somebody_leaves() {
        let sessions = Sessions::default();
        let left = sessions.begin([1; 32]);
        let stays = sessions.begin([2; 32]);

        sessions.end(&left);
        tokio::time::advance(LASTS - Duration::from_secs(1)).await;

        assert!(sessions.find(&left).is_none());
        assert_eq!(sessions.find(&stays).map(|session| session.token), Some([2; 32]));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(sessions.find(&stays).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_never_more_sessions_than_a_bound_and_the_oldest_goes() {
        let sessions = Sessions::default();
        let oldest = sessions.begin([0; 32]);
        tokio::time::advance(Duration::from_secs(1)).await;
        let others: Vec<String> = (0..MOST).map(|_| sessions.begin([1; 32])).collect();

        assert!(sessions.find(&oldest).is_none());
        assert!(others.iter().all(|id| sessions.find(id).is_some()));
        assert_eq!(sessions.open().len(), MOST);
    }

    #[test]
    fn neither_ids_nor_what_forms_carry_repeat() {
        let sessions = Sessions::default();

        let ids = [sessions.begin([1; 32]), sessions.begin([1; 32])];

        let csrf = ids.each_ref().map(|id| sessions.find(id).unwrap().csrf);
        assert!(ids[0] != ids[1] && csrf[0] != csrf[1] && csrf[0] != sessions.without_session);
        assert!(ids.iter().chain(&csrf).all(|text| text.len() == 43));
    }
}
