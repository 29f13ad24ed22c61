//! Requests about one repository: its manifests and its blobs.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, RANGE, WWW_AUTHENTICATE};
use reqwest::{Client, Response, StatusCode, Url};
use serde::Deserialize;
use tokio::sync::Mutex;
use tracing::debug;

use super::auth::{Auth, Challenge, basic_header, parse_challenges};
use super::error::RegistryError;
use super::{RegistryClients, RegistryTransport};
use crate::images::digest::{Digest, Hasher};
use crate::images::manifest::MANIFEST_MEDIA_TYPES;
use crate::images::reference::ImageReference;

/// Largest answer of a token service.
const TOKEN_BYTES_MAX: u64 = 1024 * 1024;
/// Most of an error's body that is looked at.
const ERROR_BYTES_MAX: u64 = 16 * 1024;
/// Most of a registry's words that go into a message.
const ERROR_TEXT_MAX: usize = 500;
/// Where the images of `docker.io` are.
const DOCKER_HUB: (&str, &str) = ("docker.io", "registry-1.docker.io");

/// A client for one repository with one set of credentials.
#[derive(Debug)]
pub(crate) struct RepositoryClient {
    client: Client,
    transport: RegistryTransport,
    host: String,
    repository: String,
    auth: Auth,
    /// The `Authorization` header that worked.
    authorization: Mutex<Option<String>>,
    read_timeout: Duration,
    pub(super) retries: u32,
    pub(super) retry_pause: Duration,
}

/// A manifest as the registry sent it.
#[derive(Debug)]
pub(crate) struct FetchedManifest {
    pub(crate) bytes: Vec<u8>,
    pub(crate) digest: Digest,
    /// The `Content-Type`, without parameters.
    pub(crate) media_type: Option<String>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
}

#[derive(Deserialize)]
struct ErrorAnswer {
    errors: Vec<ErrorItem>,
}

#[derive(Deserialize)]
struct ErrorItem {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

impl RepositoryClient {
    pub(crate) fn new(clients: &RegistryClients, reference: &ImageReference, auth: Auth) -> Result<Self, RegistryError> {
        let (client, transport) = clients.client(reference.domain())?;
        let host = if reference.domain() == DOCKER_HUB.0 { DOCKER_HUB.1 } else { reference.domain() };
        let authorization = match &auth {
            Auth::Bearer(token) => Some(format!("Bearer {token}")),
            Auth::Anonymous | Auth::Basic { .. } => None,
        };
        Ok(Self {
            client,
            transport,
            host: host.to_owned(),
            repository: reference.path().to_owned(),
            auth,
            authorization: Mutex::new(authorization),
            read_timeout: clients.config().read_timeout,
            retries: clients.config().retries,
            retry_pause: clients.config().retry_pause,
        })
    }

    /// Gets the manifest that `reference` means, and checks its digest if the reference has one.
    pub(crate) async fn manifest(&self, reference: &ImageReference, bytes_max: u64) -> Result<FetchedManifest, RegistryError> {
        let what = reference.to_string();
        let url = self.url("manifests", &reference.identifier())?;
        let accept = MANIFEST_MEDIA_TYPES.join(", ");
        let (headers, bytes) = self.small_body(&url, Some(&accept), bytes_max, &what).await?;
        let announced = headers.get("docker-content-digest").and_then(|value| Digest::parse(value.to_str().ok()?).ok());
        let digest = check_digest(&bytes, reference.digest().or(announced.as_ref()), &what)?;
        Ok(FetchedManifest { bytes, digest, media_type: content_type(&headers) })
    }

    /// Gets a small blob and checks it.
    pub(crate) async fn blob(&self, digest: &Digest, bytes_max: u64) -> Result<Vec<u8>, RegistryError> {
        let what = digest.to_string();
        let (_, bytes) = self.small_body(&self.url("blobs", &what)?, None, bytes_max, &what).await?;
        check_digest(&bytes, Some(digest), &what)?;
        Ok(bytes)
    }

    /// Gets something small in one piece, and asks again if the connection breaks.
    async fn small_body(&self, url: &Url, accept: Option<&str>, bytes_max: u64, what: &str) -> Result<(HeaderMap, Vec<u8>), RegistryError> {
        let mut pause = self.retry_pause;
        let mut retries = self.retries;
        loop {
            let error = match self.small_body_once(url, accept, bytes_max, what).await {
                Err(error) if error.is_transient() => error,
                result => return result,
            };
            retries = match retries.checked_sub(1) {
                Some(left) => left,
                None => return Err(error),
            };
            debug!(%error, "asking the registry again");
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }

    async fn small_body_once(
        &self,
        url: &Url,
        accept: Option<&str>,
        bytes_max: u64,
        what: &str,
    ) -> Result<(HeaderMap, Vec<u8>), RegistryError> {
        let response = self.get(url, accept, None, what).await?;
        let headers = response.headers().clone();
        Ok((headers, self.body(response, bytes_max, what).await?))
    }

    /// Asks for a blob from byte `offset` on. Whether the answer begins there is told by its status.
    pub(super) async fn open_blob(&self, digest: &Digest, offset: u64) -> Result<(Response, Url), RegistryError> {
        let what = digest.to_string();
        let url = self.url("blobs", &what)?;
        let range = (offset > 0).then(|| format!("bytes={offset}-"));
        Ok((self.get(&url, None, range.as_deref(), &what).await?, url))
    }

    /// The next bytes of a body.
    pub(super) async fn chunk(&self, response: &mut Response, url: &Url) -> Result<Option<Bytes>, RegistryError> {
        match tokio::time::timeout(self.read_timeout, response.chunk()).await {
            Ok(chunk) => chunk.map_err(|error| RegistryError::from_request(url, &error)),
            Err(_) => Err(RegistryError::timeout(url)),
        }
    }

    fn url(&self, kind: &str, identifier: &str) -> Result<Url, RegistryError> {
        let scheme = match self.transport {
            RegistryTransport::Http => "http",
            RegistryTransport::Https | RegistryTransport::HttpsUnverified => "https",
        };
        let text = format!("{scheme}://{}/v2/{}/{kind}/{identifier}", self.host, self.repository);
        Url::parse(&text).map_err(|error| RegistryError::Unreachable { request: text, detail: error.to_string(), is_transient: false })
    }

    /// One request with what the registry wants to be shown; an answer other than success is an error.
    async fn get(&self, url: &Url, accept: Option<&str>, range: Option<&str>, what: &str) -> Result<Response, RegistryError> {
        let known = self.authorization.lock().await.clone();
        let response = self.send(url, accept, range, known.as_deref()).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return self.accept(response, what).await;
        }
        let challenges: Vec<Challenge> = response
            .headers()
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .filter_map(|header| header.to_str().ok())
            .flat_map(parse_challenges)
            .collect();
        // Only the registry itself may ask: what a redirection leads to gets no credentials.
        if response.url().origin() != url.origin() {
            return self.accept(response, what).await;
        }
        let mut authorization = self.authorization.lock().await;
        if *authorization == known {
            match self.answer_challenges(&challenges).await? {
                Some(answer) if Some(&answer) != known.as_ref() => *authorization = Some(answer),
                _ => return self.accept(response, what).await,
            }
        }
        let header = authorization.clone();
        drop(authorization);
        let response = self.send(url, accept, range, header.as_deref()).await?;
        self.accept(response, what).await
    }

    async fn send(
        &self,
        url: &Url,
        accept: Option<&str>,
        range: Option<&str>,
        authorization: Option<&str>,
    ) -> Result<Response, RegistryError> {
        let mut request = self.client.get(url.clone());
        for (name, value) in [(ACCEPT, accept), (RANGE, range), (AUTHORIZATION, authorization)] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        match tokio::time::timeout(self.read_timeout, request.send()).await {
            Ok(response) => response.map_err(|error| RegistryError::from_request(url, &error)),
            Err(_) => Err(RegistryError::timeout(url)),
        }
    }

    /// The `Authorization` header that answers the challenges, if there is an answer.
    async fn answer_challenges(&self, challenges: &[Challenge]) -> Result<Option<String>, RegistryError> {
        if let Some(challenge) = challenges.iter().find(|challenge| challenge.scheme == "bearer") {
            return self.token(challenge).await.map(Some);
        }
        match (&self.auth, challenges.iter().any(|challenge| challenge.scheme == "basic")) {
            (Auth::Basic { username, password }, true) => Ok(Some(basic_header(username, password))),
            _ => Ok(None),
        }
    }

    /// Gets a token from the service that the registry names.
    async fn token(&self, challenge: &Challenge) -> Result<String, RegistryError> {
        let denied = |detail: String| RegistryError::Unauthorized { detail };
        let url = self.token_url(challenge)?;
        let credentials = match &self.auth {
            Auth::Basic { username, password } => Some(basic_header(username, password)),
            Auth::Anonymous | Auth::Bearer(_) => None,
        };
        let kind = if credentials.is_some() { "oauth" } else { "anonymous" };
        let response = self.send(&url, None, None, credentials.as_deref()).await?;
        let status = response.status();
        if !status.is_success() {
            let detail = self.error_text(response).await;
            return Err(match status {
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => denied(format!(
                    "failed to authorize: failed to fetch {kind} token: unexpected status from GET request to {url}: {status}{detail}"
                )),
                _ => RegistryError::Status { url: url.to_string(), status: status.to_string(), detail },
            });
        }
        let body = self.body(response, TOKEN_BYTES_MAX, "the answer of the token service").await?;
        let answer: TokenAnswer = serde_json::from_slice(&body).unwrap_or(TokenAnswer { token: None, access_token: None });
        match answer.token.or(answer.access_token).filter(|token| !token.is_empty()) {
            Some(token) => Ok(format!("Bearer {token}")),
            None => Err(denied(format!("the token service {url} sends no token"))),
        }
    }

    fn token_url(&self, challenge: &Challenge) -> Result<Url, RegistryError> {
        let denied = |detail: String| RegistryError::Unauthorized { detail };
        let realm = challenge.realm.as_deref().unwrap_or_default();
        let mut url = Url::parse(realm).map_err(|error| denied(format!("the token service {realm:?} is no URL: {error}")))?;
        if url.scheme() != "https" && self.transport != RegistryTransport::Http {
            return Err(denied(format!("the token service {url} is not encrypted, but its registry is")));
        }
        let default_scope = format!("repository:{}:pull", self.repository);
        let mut query = url.query_pairs_mut();
        if let Some(service) = &challenge.service {
            query.append_pair("service", service);
        }
        query.append_pair("scope", challenge.scope.as_ref().unwrap_or(&default_scope));
        drop(query);
        Ok(url)
    }

    /// Passes a success on and makes an error of everything else.
    async fn accept(&self, response: Response, what: &str) -> Result<Response, RegistryError> {
        let status = response.status();
        if matches!(status, StatusCode::OK | StatusCode::PARTIAL_CONTENT) {
            return Ok(response);
        }
        let url = response.url().to_string();
        let has_credentials = self.auth != Auth::Anonymous;
        let detail = self.error_text(response).await;
        Err(match status {
            StatusCode::NOT_FOUND => RegistryError::NotFound { what: what.to_owned() },
            StatusCode::UNAUTHORIZED if !has_credentials => {
                RegistryError::Unauthorized { detail: format!("authorization failed: no basic auth credentials{detail}") }
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                RegistryError::Unauthorized { detail: format!("authorization failed: {status}{detail}") }
            }
            _ => RegistryError::Status { url, status: status.to_string(), detail },
        })
    }

    /// What the body of an error says, after `: `, or nothing.
    async fn error_text(&self, mut response: Response) -> String {
        let url = response.url().clone();
        let mut body = Vec::new();
        while let Ok(Some(chunk)) = self.chunk(&mut response, &url).await {
            body.extend_from_slice(&chunk);
            if body.len() as u64 > ERROR_BYTES_MAX {
                break;
            }
        }
        let Ok(answer) = serde_json::from_slice::<ErrorAnswer>(&body) else { return String::new() };
        let items = answer.errors.iter().map(|item| format!("{}: {}", item.code.to_lowercase(), item.message));
        let text: String =
            items.collect::<Vec<_>>().join(", ").chars().filter(|character| !character.is_control()).take(ERROR_TEXT_MAX).collect();
        if text.is_empty() { text } else { format!(": server message: {text}") }
    }

    /// Reads a body of at most `bytes_max` bytes.
    async fn body(&self, mut response: Response, bytes_max: u64, what: &str) -> Result<Vec<u8>, RegistryError> {
        let too_large = || RegistryError::TooLarge { what: what.to_owned(), bytes_max };
        if response.content_length().is_some_and(|len| len > bytes_max) {
            return Err(too_large());
        }
        let url = response.url().clone();
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk(&mut response, &url).await? {
            body.extend_from_slice(&chunk);
            if body.len() as u64 > bytes_max {
                return Err(too_large());
            }
        }
        Ok(body)
    }
}

fn check_digest(bytes: &[u8], expected: Option<&Digest>, what: &str) -> Result<Digest, RegistryError> {
    let Some(expected) = expected else { return Ok(Digest::sha256_of(bytes)) };
    let mut hasher = Hasher::new(expected.algorithm());
    hasher.update(bytes);
    let actual = hasher.finish();
    if actual != *expected {
        return Err(RegistryError::BadDigest { what: what.to_owned(), expected: expected.clone(), actual });
    }
    Ok(actual)
}

fn content_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next()?.trim().to_owned())
}
