//! Lets through the requests of those who may ask.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::WebFile;
use crate::config::Secret;

/// Passwords that are known to be right. Checking one takes much of a processor, on purpose.
const MAX_KNOWN: usize = 100;

/// How much it takes to check the password of a user who does not exist: as much as that of most users.
const NOBODY_COST: u32 = 10;

/// Who may ask.
#[derive(Debug)]
pub(in crate::cli) struct Guard {
    web: WebFile,
    /// Two hashes, of keys that nobody knows, of users with their passwords and the hashes of these.
    known: Mutex<HashSet<[u64; 2]>>,
    states: [RandomState; 2],
    /// What the passwords of users who do not exist are compared with.
    nobody: String,
    /// One password is checked at a time, so that guessing takes one processor at most.
    checking: Semaphore,
}

impl Guard {
    pub(in crate::cli) fn new(web: WebFile) -> Self {
        let (known, states) = (Mutex::default(), [RandomState::new(), RandomState::new()]);
        // Nobody is let in by it, whatever it is. There may be users later only.
        let nobody = bcrypt::hash("nobody", NOBODY_COST).unwrap_or_default();
        Self { web, known, states, nobody, checking: Semaphore::new(1) }
    }

    /// The configuration that it keeps to.
    pub(in crate::cli) fn web(&self) -> &WebFile {
        &self.web
    }

    /// Whether the password of a user is right, whose hash is the one given if there is such a user.
    async fn is_right(&self, user: &str, password: &str, hash: Option<&Secret>) -> bool {
        let hashed = hash.map_or(&*self.nobody, |hash| hash.expose()).to_owned();
        let fingerprint = self.states.each_ref().map(|s| s.hash_one((user, password, &hashed)));
        if hash.is_some() && self.known.lock().contains(&fingerprint) {
            return true;
        }
        let Ok(_slot) = self.checking.acquire().await else { return false };
        let password = password.to_owned();
        let checked = spawn_blocking(move || bcrypt::verify(password, &hashed).unwrap_or(false));
        let is_right = checked.await.unwrap_or(false) && hash.is_some();
        if is_right {
            let mut known = self.known.lock();
            if known.len() >= MAX_KNOWN {
                known.clear();
            }
            known.insert(fingerprint);
        }
        is_right
    }
}

/// Answers for those who may not ask, and sets the headers of every answer.
pub(in crate::cli) async fn guard(
    State(guard): State<Arc<Guard>>,
    request: Request,
    next: Next,
) -> Response {
    let config = guard.web.current();
    let is_let_in = config.users.is_empty()
        || match credentials(request.headers()) {
            Some((user, password)) => {
                guard.is_right(&user, &password, config.users.get(&user)).await
            }
            None => false,
        };
    let mut response = match is_let_in {
        true => next.run(request).await,
        false => {
            let challenge = [(WWW_AUTHENTICATE, "Basic")];
            (StatusCode::UNAUTHORIZED, challenge, "Unauthorized\n").into_response()
        }
    };
    for (name, value) in &config.headers {
        response.headers_mut().insert(name, value.clone());
    }
    response
}

/// User and password of a request.
fn credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (kind, encoded) = value.split_once(' ')?;
    if !kind.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(BASE64_STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}
