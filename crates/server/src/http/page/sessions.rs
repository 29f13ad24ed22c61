//! Who looks at the page: sessions of browsers, and links that begin one.
//!
//! A browser keeps its session in the page, not in a cookie, and sends it as a bearer token: nothing is sent along by itself, to
//! this server from another page, or to another port of this machine. A session is good for the page only, where nothing can be
//! changed, and ends with the daemon, by itself after a while, or when its user says so. Only digests are kept.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::registry::fill_random;
use crate::security::users::User;
use crate::status::ApiResult;

/// How a session's token begins, so that nobody takes it for another one.
const SESSION_PREFIX: &str = "usher-session-";
/// How a link's code begins.
const CODE_PREFIX: &str = "usher-code-";
/// A working day.
const SESSION_TIME: Duration = Duration::from_secs(12 * 3600);
/// From the making of a link to its use: long enough to copy it from one window to another.
const CODE_TIME: Duration = Duration::from_secs(5 * 60);
/// Sessions at the same time; the oldest ends for the newest.
const SESSIONS_MAX: usize = 200;
/// Links that nobody has used yet.
const CODES_MAX: usize = 50;

type Digest = [u8; 32];

/// All sessions, and the links that begin one.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    sessions: Mutex<Passes>,
    codes: Mutex<Passes>,
}

/// Whom each secret stands for, until when.
#[derive(Debug, Default)]
struct Passes(BTreeMap<Digest, (User, Instant)>);

impl Passes {
    fn draw(&mut self, prefix: &str, user: User, time: Duration, most: usize, now: Instant) -> ApiResult<String> {
        self.0.retain(|_, (_, end)| *end > now);
        while self.0.len() >= most {
            let first = self.0.iter().min_by_key(|(_, (_, end))| *end).map(|(digest, _)| *digest);
            first.map(|digest| self.0.remove(&digest));
        }
        let mut bytes = [0; 32];
        fill_random(&mut bytes)?;
        let secret = format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bytes));
        self.0.insert(digest(&secret), (user, now + time));
        Ok(secret)
    }
}

impl Sessions {
    /// Begins a session.
    ///
    /// # Errors
    /// The machine has no random numbers.
    pub(crate) fn begin(&self, user: User, now: Instant) -> ApiResult<String> {
        lock(&self.sessions).draw(SESSION_PREFIX, user, SESSION_TIME, SESSIONS_MAX, now)
    }

    /// Whose session a token is.
    pub(crate) fn user(&self, token: &str, now: Instant) -> Option<User> {
        if !token.starts_with(SESSION_PREFIX) {
            return None;
        }
        let sessions = lock(&self.sessions);
        sessions.0.get(&digest(token)).filter(|(_, end)| *end > now).map(|(user, _)| user.clone())
    }

    /// Ends a session.
    pub(crate) fn end(&self, token: &str) {
        lock(&self.sessions).0.remove(&digest(token));
    }

    /// Makes a code that begins one session.
    ///
    /// # Errors
    /// The machine has no random numbers.
    pub(crate) fn code(&self, user: User, now: Instant) -> ApiResult<String> {
        lock(&self.codes).draw(CODE_PREFIX, user, CODE_TIME, CODES_MAX, now)
    }

    /// Whom a code is for; it is used up by this.
    pub(crate) fn redeem(&self, code: &str, now: Instant) -> Option<User> {
        lock(&self.codes).0.remove(&digest(code)).filter(|(_, end)| *end > now).map(|(user, _)| user)
    }
}

fn lock(passes: &Mutex<Passes>) -> MutexGuard<'_, Passes> {
    passes.lock().unwrap_or_else(PoisonError::into_inner)
}

fn digest(secret: &str) -> Digest {
    Sha256::digest(secret.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_begins_one_session_and_no_second() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let code = sessions.code(User::root(), now).expect("drawn");
        assert_eq!(sessions.user(&code, now), None, "a code is no session");
        let user = sessions.redeem(&code, now).expect("good");
        assert_eq!(sessions.redeem(&code, now), None);
        let session = sessions.begin(user, now).expect("begun");
        assert_eq!(sessions.user(&session, now), Some(User::root()));
        assert_eq!(sessions.redeem(&session, now), None, "a session is no code");
        let late = sessions.code(User::root(), now).expect("drawn");
        assert_eq!(sessions.redeem(&late, now + CODE_TIME), None);
    }

    #[test]
    fn sessions_end_by_themselves_by_their_users_and_for_newer_ones() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let session = sessions.begin(User::root(), now).expect("begun");
        assert!(sessions.user(&session, now + SESSION_TIME - Duration::from_secs(1)).is_some());
        assert_eq!(sessions.user(&session, now + SESSION_TIME), None);
        sessions.end(&session);
        assert_eq!(sessions.user(&session, now), None);
        let first = sessions.begin(User::root(), now).expect("begun");
        for age in 1..=SESSIONS_MAX as u64 {
            sessions.begin(User::root(), now + Duration::from_secs(age)).expect("begun");
        }
        assert_eq!(sessions.user(&first, now), None);
        assert_eq!(lock(&sessions.sessions).0.len(), SESSIONS_MAX);
    }
}
