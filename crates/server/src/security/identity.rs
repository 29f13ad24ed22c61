//! What the server shows of itself, and the files by which its users know it: made at the start, and anew while it runs, long before
//! they end.
//!
//! The authority is not renewed. Invariant: nothing is made with another authority than that of the start, so that a folder that was
//! removed to shut somebody out stays empty until the next start.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::certificates::{CertificateError, Certificates, write_file};
use super::kubeconfig::kubeconfig;
use crate::registry::now;

/// The folder of certificates and tokens in the server's folder.
pub const SECRETS_FOLDER: &str = "pki";
/// The kubeconfig of the administrator in the server's folder.
pub const KUBECONFIG_FILE: &str = "kubeconfig";
/// The kubeconfig of the user who only looks.
pub const READ_ONLY_KUBECONFIG_FILE: &str = "read-only.kubeconfig";

/// Time between two looks for certificates that end soon.
const RENEW_EVERY: Duration = Duration::from_secs(24 * 3600);

/// The certificates of a server that runs.
#[derive(Debug)]
pub(crate) struct Identity {
    folder: PathBuf,
    names: Vec<String>,
    certificates: Mutex<Certificates>,
    shown: Arc<Shown>,
}

/// The certificate that whoever connects is shown.
#[derive(Debug)]
struct Shown(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Identity {
    /// Reads the certificates below the server's folder, and makes those that are missing or end soon.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub(crate) fn load_or_make(folder: &Path, names: Vec<String>) -> Result<Self, CertificateError> {
        let secrets = folder.join(SECRETS_FOLDER);
        let certificates = Certificates::load_or_make(&secrets, &names, now())?;
        let shown = Arc::new(Shown(RwLock::new(Arc::new(certificates.server_key(&secrets)?))));
        Ok(Self { folder: folder.to_owned(), names, certificates: Mutex::new(certificates), shown })
    }

    fn secrets(&self) -> PathBuf {
        self.folder.join(SECRETS_FOLDER)
    }

    fn certificates(&self) -> Certificates {
        self.certificates.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How the server speaks TLS, with whatever certificate it has when somebody connects.
    ///
    /// # Errors
    /// A file does not hold what it should.
    pub(crate) fn tls(&self) -> Result<ServerConfig, CertificateError> {
        self.certificates().server_config(&self.secrets(), Arc::clone(&self.shown) as Arc<dyn ResolvesServerCert>)
    }

    /// Makes the certificates anew that end soon, shows the server's to whoever connects from then on, and writes those of the users
    /// into their files.
    ///
    /// # Errors
    /// The folder cannot be used. What was there goes on.
    pub(crate) fn renew(&self, addresses: &[SocketAddr], now: Timestamp) -> Result<Renewal, CertificateError> {
        let (secrets, known) = (self.secrets(), self.certificates());
        if !fs::read_to_string(secrets.join("ca.crt")).is_ok_and(|authority| authority == known.authority) {
            return Ok(Renewal::OtherAuthority);
        }
        let fresh = Certificates::load_or_make(&secrets, &self.names, now)?;
        if fresh == known {
            return Ok(Renewal::NothingToDo);
        }
        let key = fresh.server_key(&secrets)?;
        *self.shown.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
        *self.certificates.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
        self.write_kubeconfigs(addresses)?;
        Ok(Renewal::Done)
    }

    /// Looks for certificates that end soon, for as long as it is let.
    pub(crate) async fn keep_renewing(self: Arc<Self>, addresses: Vec<SocketAddr>) {
        loop {
            tokio::time::sleep(RENEW_EVERY).await;
            let (identity, addresses) = (Arc::clone(&self), addresses.clone());
            let Ok(renewed) = tokio::task::spawn_blocking(move || identity.renew(&addresses, now())).await else { continue };
            match renewed {
                Ok(Renewal::NothingToDo) => {}
                Ok(Renewal::Done) => tracing::info!("certificates that would have ended soon are made anew; so are the files kubeconfig"),
                Ok(Renewal::OtherAuthority) => {
                    tracing::warn!(folder = %self.secrets().display(), "another authority, or none, is on the disk; it counts from the next start");
                }
                Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "certificates cannot be renewed"),
            }
        }
    }

    /// Writes the files with which users find the server and show who they are.
    ///
    /// # Errors
    /// A file cannot be written.
    pub(crate) fn write_kubeconfigs(&self, addresses: &[SocketAddr]) -> Result<(), CertificateError> {
        let Some(address) = addresses.first() else { return Ok(()) };
        let host = match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => "127.0.0.1".to_owned(),
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) if ip.is_unspecified() => "[::1]".to_owned(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        };
        let server = format!("https://{host}:{}", address.port());
        let certificates = self.certificates();
        let write = |file: &str, user: &str, pair| {
            write_file(&self.folder.join(file), &kubeconfig(&server, &certificates.authority, user, pair), 0o600)
        };
        write(KUBECONFIG_FILE, "usher-admin", &certificates.admin)?;
        write(READ_ONLY_KUBECONFIG_FILE, "usher-read-only", &certificates.read_only)
    }
}

/// What came of a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// None of them ends soon.
    NothingToDo,
    /// Some were made anew.
    Done,
    /// The authority on the disk is not the one that this server began with.
    OtherAuthority,
}
