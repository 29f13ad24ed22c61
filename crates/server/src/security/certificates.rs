//! The certificates of the server and of its first two users, made on the first start.
//!
//! A folder holds them: `ca`, `server`, `admin` and `read-only`, each with `.crt` and `.key`. The authority stays; the
//! others are made anew when they end soon or, for the server, when it gets other names.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use k8s_openapi::jiff::civil::Date;
use k8s_openapi::jiff::tz::TimeZone;
use k8s_openapi::jiff::{Timestamp, ToSpan as _};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};

use super::users::{ADMIN_GROUP, READ_ONLY_GROUP, User};
use super::x509;

/// How long the authority is valid.
const AUTHORITY_YEARS: i16 = 10;
/// How long the others are.
const LEAF_YEARS: i16 = 1;
/// Certificates that end sooner than this are made anew.
const RENEW_DAYS: i64 = 60;

/// Names under which the server is reached on its own machine, and inside pods.
const SERVER_NAMES: [&str; 6] = ["localhost", "127.0.0.1", "::1", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];

/// Why there are no certificates.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read or written.
    #[error("cannot use the certificate file {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A certificate could not be made.
    #[error("cannot make the certificate {name}")]
    Make {
        /// Its name.
        name: &'static str,
        /// Why.
        #[source]
        source: rcgen::Error,
    },
    /// A file does not hold what it should.
    #[error("the certificate file {} is not usable: {reason}; remove it to have it made anew", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// A certificate and its key, as PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// The key.
    pub key: String,
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The key is nobody's business.
        f.debug_struct("Pair").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// All certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificates {
    /// The certificate of the authority, as PEM.
    pub authority: String,
    /// The server's.
    pub server: Pair,
    /// The administrator's.
    pub admin: Pair,
    /// That of a user who only looks.
    pub read_only: Pair,
}

impl Certificates {
    /// Reads the certificates from a folder, and makes those that are missing or end soon. The server's is for its
    /// usual names and `names`.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub fn load_or_make(folder: &Path, names: &[String], now: Timestamp) -> Result<Self, CertificateError> {
        fs::create_dir_all(folder).map_err(|source| CertificateError::File { path: folder.to_owned(), source })?;
        let maker = Maker { folder, now };
        let authority = maker.authority()?;
        let mut server_names: Vec<String> = SERVER_NAMES.iter().map(|name| (*name).to_owned()).chain(names.iter().cloned()).collect();
        server_names.sort_unstable();
        server_names.dedup();
        // The names are kept beside the certificate, so that others lead to another one.
        let list = folder.join("server.names");
        let wanted = server_names.join("\n");
        let same = fs::read_to_string(&list).is_ok_and(|known| known == wanted);
        let server = maker.leaf(&authority, "server", "usher", &[], &server_names, if same { Keep::IfValid } else { Keep::Never })?;
        write_file(&list, &wanted, 0o644)?;
        let admin = maker.leaf(&authority, "admin", "usher-admin", &[ADMIN_GROUP], &[], Keep::IfValid)?;
        let read_only = maker.leaf(&authority, "read-only", "usher-read-only", &[READ_ONLY_GROUP], &[], Keep::IfValid)?;
        Ok(Self { authority: authority.certificate, server, admin, read_only })
    }

    /// The server's certificate, with what it needs to show it.
    ///
    /// # Errors
    /// A file does not hold what it should.
    pub fn server_key(&self, folder: &Path) -> Result<CertifiedKey, CertificateError> {
        let damaged = |file: &str, reason: String| CertificateError::Damaged { path: folder.join(file), reason };
        let certificate =
            CertificateDer::from_pem_slice(self.server.certificate.as_bytes()).map_err(|error| damaged("server.crt", error.to_string()))?;
        let key = PrivateKeyDer::from_pem_slice(self.server.key.as_bytes()).map_err(|error| damaged("server.key", error.to_string()))?;
        let provider = rustls::crypto::ring::default_provider();
        CertifiedKey::from_der(vec![certificate], key, &provider).map_err(|error| damaged("server.crt", error.to_string()))
    }

    /// How the server speaks TLS: with what is `shown` when somebody connects, and with clients that show a certificate of this
    /// authority or none.
    ///
    /// # Errors
    /// A file does not hold what it should.
    pub fn server_config(&self, folder: &Path, shown: Arc<dyn ResolvesServerCert>) -> Result<ServerConfig, CertificateError> {
        let damaged = |reason: String| CertificateError::Damaged { path: folder.join("ca.crt"), reason };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_slice(self.authority.as_bytes()).map_err(|error| damaged(error.to_string()))?;
        roots.add(authority).map_err(|error| damaged(error.to_string()))?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()
            .map_err(|error| damaged(error.to_string()))?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| damaged(error.to_string()))?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(shown);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

/// Who a client certificate belongs to. It must have been verified.
pub fn user_of(certificate: &[u8]) -> Option<User> {
    let subject = x509::subject(certificate)?;
    (!subject.name.is_empty()).then(|| User::new(subject.name, subject.organizations))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    IfValid,
    Never,
}

struct Maker<'a> {
    folder: &'a Path,
    now: Timestamp,
}

impl Maker<'_> {
    fn authority(&self) -> Result<Pair, CertificateError> {
        let (certificate, key) = (self.folder.join("ca.crt"), self.folder.join("ca.key"));
        if certificate.exists() || key.exists() {
            return read_pair(&certificate, &key);
        }
        let make = |source| CertificateError::Make { name: "ca", source };
        let pair = KeyPair::generate().map_err(make)?;
        let mut params = authority_params();
        self.set_days(&mut params, AUTHORITY_YEARS);
        let made = params.self_signed(&pair).map_err(make)?;
        let made = Pair { certificate: made.pem(), key: pair.serialize_pem() };
        write_file(&key, &made.key, 0o600)?;
        write_file(&certificate, &made.certificate, 0o644)?;
        Ok(made)
    }

    fn leaf(
        &self,
        authority: &Pair,
        name: &'static str,
        common: &str,
        groups: &[&str],
        names: &[String],
        keep: Keep,
    ) -> Result<Pair, CertificateError> {
        let (certificate, key) = (self.folder.join(format!("{name}.crt")), self.folder.join(format!("{name}.key")));
        if keep == Keep::IfValid && certificate.exists() && key.exists() {
            let pair = read_pair(&certificate, &key)?;
            if self.is_valid_for_long(&pair.certificate) {
                return Ok(pair);
            }
        }
        let make = |source| CertificateError::Make { name, source };
        let ca_key = KeyPair::from_pem(&authority.key)
            .map_err(|error| CertificateError::Damaged { path: self.folder.join("ca.key"), reason: error.to_string() })?;
        let issuer = Issuer::new(authority_params(), ca_key);
        let mut params = CertificateParams::new(names.to_vec()).map_err(make)?;
        self.set_days(&mut params, LEAF_YEARS);
        params.distinguished_name.push(DnType::CommonName, common);
        for group in groups {
            params.distinguished_name.push(DnType::OrganizationName, *group);
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        params.extended_key_usages =
            vec![if names.is_empty() { ExtendedKeyUsagePurpose::ClientAuth } else { ExtendedKeyUsagePurpose::ServerAuth }];
        let pair = KeyPair::generate().map_err(make)?;
        let made = params.signed_by(&pair, &issuer).map_err(make)?;
        let made = Pair { certificate: made.pem(), key: pair.serialize_pem() };
        write_file(&key, &made.key, 0o600)?;
        write_file(&certificate, &made.certificate, 0o644)?;
        Ok(made)
    }

    /// Valid from the beginning of yesterday, since clocks may differ, for some years.
    fn set_days(&self, params: &mut CertificateParams, years: i16) {
        let today = self.now.to_zoned(TimeZone::UTC).date();
        let day_after = |years: i16| {
            let day = today.checked_sub(1.day()).and_then(|day| day.checked_add(i32::from(years).years())).unwrap_or(today);
            date_time_ymd(i32::from(day.year()), day.month().unsigned_abs(), day.day().unsigned_abs())
        };
        params.not_before = day_after(0);
        params.not_after = day_after(years);
    }

    fn is_valid_for_long(&self, pem: &str) -> bool {
        let end = CertificateDer::from_pem_slice(pem.as_bytes())
            .ok()
            .and_then(|der| x509::subject(&der))
            .and_then(|subject| end_of(&subject.not_after));
        let soon = self.now.to_zoned(TimeZone::UTC).date().checked_add(RENEW_DAYS.days());
        end.is_some_and(|end| soon.is_ok_and(|soon| end > soon))
    }
}

/// The day in `YYMMDD…` or `YYYYMMDD…`.
fn end_of(text: &str) -> Option<Date> {
    let digits = text.trim_end_matches('Z');
    let (year, rest) = match digits.len() {
        12 => (2000 + digits.get(..2)?.parse::<i16>().ok()?, digits.get(2..)?),
        14 => (digits.get(..4)?.parse::<i16>().ok()?, digits.get(4..)?),
        _ => return None,
    };
    Date::new(year, rest.get(..2)?.parse().ok()?, rest.get(2..4)?.parse().ok()?).ok()
}

/// What is the same in the authority's certificate whenever it is needed.
fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "usher-ca");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    params
}

fn read_pair(certificate: &Path, key: &Path) -> Result<Pair, CertificateError> {
    let read = |path: &Path| fs::read_to_string(path).map_err(|source| CertificateError::File { path: path.to_owned(), source });
    Ok(Pair { certificate: read(certificate)?, key: read(key)? })
}

/// Writes a file so that it is either as before or whole.
pub(crate) fn write_file(path: &Path, text: &str, mode: u32) -> Result<(), CertificateError> {
    let failed = |source| CertificateError::File { path: path.to_owned(), source };
    let temporary = path.with_extension("new");
    let _ = fs::remove_file(&temporary);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    fs::rename(&temporary, path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn certificates_are_made_once_and_kept() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let first = Certificates::load_or_make(folder.path(), &[], at("2026-01-01T00:00:00Z")).expect("made");
        let second = Certificates::load_or_make(folder.path(), &[], at("2026-03-01T00:00:00Z")).expect("read");
        assert_eq!((&first.admin.certificate, &first.server.key), (&second.admin.certificate, &second.server.key));
        let later = Certificates::load_or_make(folder.path(), &[], at("2026-12-01T00:00:00Z")).expect("renewed");
        assert_eq!(later.authority, first.authority);
        assert_ne!(later.admin.certificate, first.admin.certificate, "it would have ended soon");
        let named = Certificates::load_or_make(folder.path(), &["host.example".to_owned()], at("2026-12-01T00:00:00Z")).expect("made");
        assert_eq!(named.admin.certificate, later.admin.certificate);
        assert_ne!(named.server.certificate, later.server.certificate);
        first.server_key(folder.path()).expect("usable");
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(folder.path().join("admin.key")).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn the_user_and_the_groups_are_in_the_certificate() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let all = Certificates::load_or_make(folder.path(), &[], at("2026-01-01T00:00:00Z")).expect("made");
        let user =
            |pair: &Pair| user_of(&CertificateDer::from_pem_slice(pair.certificate.as_bytes()).expect("a certificate")).expect("a user");
        let admin = user(&all.admin);
        assert_eq!((admin.name.as_str(), admin.role()), ("usher-admin", super::super::users::Role::Admin));
        assert_eq!(user(&all.read_only).role(), super::super::users::Role::ReadOnly);
        assert_eq!(user_of(b"\x30\x82"), None);
    }
}
