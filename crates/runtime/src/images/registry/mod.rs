//! Registries: how they are reached, and the client of the OCI distribution protocol (pull only).
//!
//! Every body that a registry sends is bounded, every wait too. Credentials go to the registry itself and to the token
//! service that it names, never to a host that a redirection leads to.

mod auth;
mod client;
mod download;
mod error;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::OnceLock;
use std::time::Duration;

use reqwest::{Client, NoProxy, Proxy, Url, redirect};

pub use self::auth::Auth;
#[cfg(any(test, fuzzing))]
pub(crate) use self::auth::parse_challenges;
pub use self::error::RegistryError;

pub(crate) use self::client::RepositoryClient;
pub(crate) use self::download::BlobChunk;

/// Most redirections followed for one request. Registries use one, to where their blobs are.
const REDIRECTS_MAX: usize = 5;

/// How to talk to a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegistryTransport {
    /// TLS with a certificate that this machine trusts.
    Https,
    /// TLS with any certificate.
    HttpsUnverified,
    /// Plain text. The default for registries on loopback.
    Http,
}

/// How registries are reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryConfig {
    /// Registries that are not reached by the default, named as in images (`registry.local:5000`).
    pub transports: BTreeMap<String, RegistryTransport>,
    /// Certificates, in PEM, that are trusted beside those of the system.
    pub extra_certificates: Vec<Vec<u8>>,
    /// Proxy for `https` registries, as a URL.
    pub https_proxy: Option<String>,
    /// Proxy for `http` registries that are not on loopback, as a URL.
    pub http_proxy: Option<String>,
    /// Hosts that are reached without a proxy, as in the environment variable `NO_PROXY`.
    pub no_proxy: Option<String>,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Longest silence of a registry that ought to answer or to send.
    pub read_timeout: Duration,
    /// How often a request is repeated, or a download taken up again, when the connection breaks.
    pub retries: u32,
    /// Pause before the first repetition; it doubles each time.
    pub retry_pause: Duration,
}

impl Default for RegistryConfig {
    /// 30 s to connect, 60 s of silence (the kubelet's old deadline for progress), 4 repetitions from 250 ms on.
    fn default() -> Self {
        Self {
            transports: BTreeMap::new(),
            extra_certificates: Vec::new(),
            https_proxy: None,
            http_proxy: None,
            no_proxy: None,
            connect_timeout: Duration::from_secs(30),
            read_timeout: Duration::from_secs(60),
            retries: 4,
            retry_pause: Duration::from_millis(250),
        }
    }
}

impl RegistryConfig {
    /// How to talk to the registry `domain`.
    pub fn transport(&self, domain: &str) -> RegistryTransport {
        let default = if is_loopback(domain) { RegistryTransport::Http } else { RegistryTransport::Https };
        self.transports.get(domain).copied().unwrap_or(default)
    }
}

/// Whether a registry, named as in images, is on this machine.
fn is_loopback(domain: &str) -> bool {
    let host = match domain.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => domain.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whose certificates a client takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// Those of the system and the configured ones.
    System,
    Anybody,
    /// None, for plain text on loopback: so none are read, which takes a while.
    Nobody,
}

/// HTTP clients, one for each way to talk, made when first needed.
#[derive(Debug)]
pub(crate) struct RegistryClients {
    config: RegistryConfig,
    verified: OnceLock<Client>,
    unverified: OnceLock<Client>,
    plain: OnceLock<Client>,
}

impl RegistryClients {
    pub(crate) fn new(config: RegistryConfig) -> Self {
        Self { config, verified: OnceLock::new(), unverified: OnceLock::new(), plain: OnceLock::new() }
    }

    pub(crate) fn config(&self) -> &RegistryConfig {
        &self.config
    }

    /// The client for the registry `domain`.
    fn client(&self, domain: &str) -> Result<(Client, RegistryTransport), RegistryError> {
        let transport = self.config.transport(domain);
        let slot = match transport {
            RegistryTransport::Https => &self.verified,
            RegistryTransport::HttpsUnverified => &self.unverified,
            RegistryTransport::Http if is_loopback(domain) => &self.plain,
            RegistryTransport::Http => &self.verified,
        };
        if let Some(client) = slot.get() {
            return Ok((client.clone(), transport));
        }
        let trust = match transport {
            RegistryTransport::HttpsUnverified => Trust::Anybody,
            RegistryTransport::Http if is_loopback(domain) => Trust::Nobody,
            RegistryTransport::Https | RegistryTransport::Http => Trust::System,
        };
        let client = self.build(trust).map_err(|error| RegistryError::Client { detail: error::innermost(&error), source: error })?;
        Ok((slot.get_or_init(|| client).clone(), transport))
    }

    fn build(&self, trust: Trust) -> Result<Client, reqwest::Error> {
        install_crypto();
        let mut builder = Client::builder()
            .user_agent(concat!("usher/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(self.config.connect_timeout)
            .redirect(redirect::Policy::custom(follow_redirection))
            .no_proxy();
        if trust != Trust::Nobody {
            let exceptions = || self.config.no_proxy.as_deref().and_then(NoProxy::from_string);
            if let Some(url) = &self.config.https_proxy {
                builder = builder.proxy(Proxy::https(url)?.no_proxy(exceptions()));
            }
            if let Some(url) = &self.config.http_proxy {
                builder = builder.proxy(Proxy::http(url)?.no_proxy(exceptions()));
            }
        }
        builder = match trust {
            Trust::Nobody => builder.tls_certs_only([]),
            Trust::Anybody => builder.tls_danger_accept_invalid_certs(true),
            Trust::System if self.config.extra_certificates.is_empty() => builder,
            Trust::System => {
                let mut certificates = Vec::new();
                for pem in &self.config.extra_certificates {
                    certificates.extend(reqwest::Certificate::from_pem_bundle(pem)?);
                }
                builder.tls_certs_merge(certificates)
            }
        };
        builder.build()
    }
}

/// Never from https to http: what was asked for under encryption does not travel without.
fn follow_redirection(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let was_encrypted = attempt.previous().last().is_some_and(|url: &Url| url.scheme() == "https");
    if was_encrypted && attempt.url().scheme() != "https" {
        return attempt.error("the registry redirects from https to http");
    }
    if attempt.previous().len() > REDIRECTS_MAX {
        return attempt.error("the registry redirects too often");
    }
    attempt.follow()
}

/// Makes ring the cryptography of this process, unless somebody has chosen already.
pub(crate) fn install_crypto() {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

#[cfg(test)]
mod tests;
