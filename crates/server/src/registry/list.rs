//! Lists: whole, selected, or in pieces that belong together.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Registry;
use crate::kinds::Kind;
use crate::selector::Selector;
use crate::status::{ApiError, ApiResult};
use crate::store::{Listing, ObjectKey, Revision, Stored};

/// How long the state that a list in pieces began with is kept for its next piece, as in the reference.
const SNAPSHOT_AGE_MAX: Duration = Duration::from_secs(5 * 60);

/// The most such states kept. Each holds what was deleted or changed since.
const SNAPSHOTS_MAX: usize = 16;

/// What is to be listed.
#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    /// Which objects.
    pub selector: Selector,
    /// The most objects; 0 for all.
    pub limit: usize,
    /// Where the list goes on; empty at its start.
    pub continue_token: String,
    /// The revision asked for; empty for the latest.
    pub resource_version: String,
    /// `Exact`, `NotOlderThan`, or nothing.
    pub resource_version_match: String,
}

/// A list, or a piece of one.
#[derive(Clone, Debug)]
pub struct List {
    /// The revision at which it holds.
    pub revision: Revision,
    /// The objects in order.
    pub items: Vec<Arc<Stored>>,
    /// Where it goes on; empty at its end.
    pub continue_token: String,
    /// How many objects come then, where that is known.
    pub remaining: Option<usize>,
}

/// The state that a list in pieces began with.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    resource: &'static str,
    listing: Listing,
    taken: Instant,
}

#[derive(Deserialize, Serialize)]
struct Token {
    v: String,
    rv: u64,
    /// The namespace and name of the last object given.
    after: (String, String),
}

impl Registry {
    /// Lists objects of one namespace or of all.
    ///
    /// # Errors
    /// The options contradict each other, or ask for a revision that is not there.
    pub fn list(&self, kind: &Kind, namespace: Option<&str>, options: &ListOptions) -> ApiResult<List> {
        let token = (!options.continue_token.is_empty()).then(|| read_token(&options.continue_token)).transpose()?;
        let listing = match &token {
            Some(token) => {
                if !matches!(options.resource_version.as_str(), "" | "0") {
                    return Err(ApiError::bad_request("specifying resource version is not allowed when using continue"));
                }
                self.listing_of(kind, token)?
            }
            None => self.listing_at(kind, options)?,
        };
        let after = token.as_ref().map(|token| ObjectKey::new(&token.after.0, &token.after.1));
        if let (Some(namespace), Some(name), None) = (namespace, options.selector.name(), &after) {
            // One object by name, as `kubectl get NAME -w` asks.
            let found = listing.get(&ObjectKey::new(namespace, name)).filter(|stored| options.selector.matches(&stored.value()));
            let items = found.into_iter().cloned().collect();
            return Ok(List { revision: listing.revision, items, continue_token: String::new(), remaining: None });
        }
        let everything = options.selector.is_everything();
        let mut wanted =
            listing.after(namespace, after.as_ref()).filter(|(_, stored)| everything || options.selector.matches(&stored.value()));
        let limit = if options.limit == 0 { usize::MAX } else { options.limit };
        let mut items = Vec::new();
        let mut last = None;
        for (key, stored) in wanted.by_ref().take(limit) {
            items.push(Arc::clone(stored));
            last = Some(key);
        }
        let mut remaining = 0;
        if limit != usize::MAX {
            remaining = if everything { wanted.count() } else { wanted.take(1).count() };
        }
        let mut list = List { revision: listing.revision, items, continue_token: String::new(), remaining: None };
        if let Some(last) = last.filter(|_| remaining > 0) {
            let after = (last.namespace.clone(), last.name.clone());
            list.continue_token = write_token(&Token { v: "meta.k8s.io/v1".to_owned(), rv: listing.revision.0, after });
            list.remaining = everything.then_some(remaining);
            self.keep_snapshot(kind.stored_as, &listing);
        }
        Ok(list)
    }

    /// The state for a list that begins.
    fn listing_at(&self, kind: &Kind, options: &ListOptions) -> ApiResult<Listing> {
        let listing = self.store.list(kind.stored_as);
        let exact = match options.resource_version_match.as_str() {
            "" | "NotOlderThan" => false,
            "Exact" => true,
            other => {
                return Err(invalid_options(&format!(
                    "resourceVersionMatch: Unsupported value: \"{other}\": supported values: \"Exact\", \"NotOlderThan\", \"\""
                )));
            }
        };
        if options.resource_version.is_empty() {
            return match options.resource_version_match.as_str() {
                "" => Ok(listing),
                _ => Err(invalid_options(
                    "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided",
                )),
            };
        }
        let asked = parse_revision(&options.resource_version)?;
        if exact && asked.0 == 0 {
            return Err(invalid_options(
                "resourceVersionMatch: Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
            ));
        }
        if asked > listing.revision {
            return Err(too_new(asked, listing.revision));
        }
        // The reference takes a revision with a limit as exact.
        let exact = exact || options.resource_version_match.is_empty() && options.limit > 0 && asked.0 > 0;
        if exact && asked < listing.last {
            return self.snapshot(kind.stored_as, asked).ok_or_else(|| {
                ApiError::expired(format!(
                    "The provided resource version is too old: {asked} (the objects changed last at {})",
                    listing.last
                ))
            });
        }
        Ok(if exact { listing.as_of(asked) } else { listing })
    }

    /// The state for a list that goes on.
    fn listing_of(&self, kind: &Kind, token: &Token) -> ApiResult<Listing> {
        let current = self.store.list(kind.stored_as);
        let began = Revision(token.rv);
        // -1 in the reference's tokens: go on with what there is.
        if token.rv == 0 {
            return Ok(current);
        }
        if current.last <= began {
            return Ok(current.as_of(began));
        }
        self.snapshot(kind.stored_as, began).ok_or_else(|| {
            let anew = write_token(&Token { v: "meta.k8s.io/v1".to_owned(), rv: 0, after: token.after.clone() });
            let message = "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";
            ApiError { continue_token: Some(anew), ..ApiError::expired(message) }
        })
    }

    fn keep_snapshot(&self, resource: &'static str, listing: &Listing) {
        let mut snapshots = self.snapshots.lock().expect("no holder of this lock panics");
        snapshots.retain(|snapshot| snapshot.taken.elapsed() < SNAPSHOT_AGE_MAX);
        if snapshots.iter().any(|snapshot| snapshot.resource == resource && snapshot.listing.revision == listing.revision) {
            return;
        }
        if snapshots.len() == SNAPSHOTS_MAX {
            snapshots.remove(0);
        }
        snapshots.push(Snapshot { resource, listing: listing.clone(), taken: Instant::now() });
    }

    fn snapshot(&self, resource: &str, revision: Revision) -> Option<Listing> {
        let snapshots = self.snapshots.lock().expect("no holder of this lock panics");
        let fresh = snapshots.iter().filter(|snapshot| snapshot.taken.elapsed() < SNAPSHOT_AGE_MAX);
        fresh
            .filter(|snapshot| snapshot.resource == resource)
            .find(|snapshot| snapshot.listing.revision == revision)
            .map(|snapshot| snapshot.listing.clone())
    }
}

/// A `resourceVersion` of a request.
pub(crate) fn parse_revision(text: &str) -> ApiResult<Revision> {
    match text.parse() {
        Ok(number) => Ok(Revision(number)),
        Err(_) => Err(ApiError::bad_request(format!(
            "resourceVersion: Invalid value: \"{text}\": strconv.ParseUint: parsing \"{text}\": invalid syntax"
        ))),
    }
}

fn invalid_options(what: &str) -> ApiError {
    ApiError::new(422, "Invalid", format!("ListOptions.meta.k8s.io \"\" is invalid: {what}"))
}

fn too_new(asked: Revision, current: Revision) -> ApiError {
    let mut error = ApiError::new(504, "Timeout", format!("Too large resource version: {asked}, current: {current}"));
    let cause = json!({ "reason": "ResourceVersionTooLarge", "message": "Too large resource version" });
    error.details = Some(json!({ "causes": [cause], "retryAfterSeconds": 1 }));
    error
}

fn write_token(token: &Token) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(token).expect("text and numbers can be written"))
}

fn read_token(text: &str) -> ApiResult<Token> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok();
    let token = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    token.ok_or_else(|| ApiError::bad_request("continue key is not valid: illegal continue token"))
}
