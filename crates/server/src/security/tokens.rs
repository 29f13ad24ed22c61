//! Bearer tokens: of the two roles, from a file, and of service accounts, signed.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::certificates::{CertificateError, write_file};
use super::users::{ADMIN_GROUP, READ_ONLY_GROUP, User};
use crate::status::{ApiError, ApiResult};

/// Who gives tokens out, and for whom, where a request does not say.
pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// How long a token lives at least and at most, and if nobody says, in seconds.
const LIFE_SECONDS_MIN: i64 = 600;
const LIFE_SECONDS_MAX: i64 = 1 << 32;
const LIFE_SECONDS: i64 = 3600;

/// The longest token looked at.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// All tokens.
pub struct Tokens {
    /// Digests, so that comparing takes no secret's time.
    known: Vec<([u8; 32], User)>,
    key: hmac::Key,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

impl Tokens {
    /// Reads the tokens from a folder, and makes them where they are missing: `admin.token`, `read-only.token`, and
    /// `service-accounts.key`.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub fn load_or_make(folder: &Path) -> Result<Self, CertificateError> {
        let mut known = Vec::new();
        for (file, name, group) in [("admin.token", "usher-admin", ADMIN_GROUP), ("read-only.token", "usher-read-only", READ_ONLY_GROUP)] {
            let token = secret(&folder.join(file))?;
            known.push((Sha256::digest(token.as_bytes()).into(), User::new(name, vec![group.to_owned()])));
        }
        let key = secret(&folder.join("service-accounts.key"))?;
        Ok(Self { known, key: hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()) })
    }

    /// Who a token belongs to. `account` gives the UID of a service account, if it is there. `now` is in seconds.
    pub fn user(&self, token: &str, now: i64, account: impl Fn(&str, &str) -> Option<String>) -> Option<User> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        if let Some((_, user)) = self.known.iter().find(|(known, _)| *known == digest) {
            return Some(user.clone());
        }
        let claims = self.claims(token)?;
        if claims["exp"].as_i64()? <= now {
            return None;
        }
        let account_of = &claims["kubernetes.io"];
        let (namespace, name) = (account_of["namespace"].as_str()?, account_of["serviceaccount"]["name"].as_str()?);
        let uid = account(namespace, name).filter(|uid| account_of["serviceaccount"]["uid"].as_str() == Some(uid))?;
        let groups = vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
        Some(User { uid, ..User::new(format!("system:serviceaccount:{namespace}:{name}"), groups) })
    }

    /// The audiences of a token that is valid.
    pub fn audiences(&self, token: &str) -> Vec<String> {
        let claims = self.claims(token).unwrap_or(Value::Null);
        claims["aud"].as_array().into_iter().flatten().filter_map(Value::as_str).map(ToOwned::to_owned).collect()
    }

    fn claims(&self, token: &str) -> Option<Value> {
        let (signed, signature) = token.rsplit_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        hmac::verify(&self.key, signed.as_bytes(), &signature).ok()?;
        let (_, claims) = signed.split_once('.')?;
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
    }

    /// Answers a `TokenRequest` for a service account.
    ///
    /// # Errors
    /// The request asks for what is not possible.
    pub fn issue(&self, request: &mut Value, namespace: &str, name: &str, uid: &str, now: i64, id: &str) -> ApiResult<()> {
        let life = request["spec"]["expirationSeconds"].as_i64().unwrap_or(LIFE_SECONDS);
        if life < LIFE_SECONDS_MIN {
            return Err(ApiError::new(
                422,
                "Invalid",
                format!(
                    "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: {life}: may not specify a duration less than 10 minutes"
                ),
            ));
        }
        if life > LIFE_SECONDS_MAX {
            return Err(ApiError::new(
                422,
                "Invalid",
                format!(
                    "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Too long: may not be more than {LIFE_SECONDS_MAX} seconds"
                ),
            ));
        }
        let audiences = match request["spec"]["audiences"].as_array() {
            Some(audiences) if !audiences.is_empty() => json!(audiences),
            _ => json!([ISSUER]),
        };
        let mut about = json!({ "namespace": namespace, "serviceaccount": { "name": name, "uid": uid } });
        let bound = &request["spec"]["boundObjectRef"];
        if bound["kind"] == "Pod" {
            about["pod"] = json!({ "name": bound["name"], "uid": bound["uid"] });
        }
        let claims = json!({
            "aud": audiences,
            "exp": now + life,
            "iat": now,
            "nbf": now,
            "iss": ISSUER,
            "jti": id,
            "kubernetes.io": about,
            "sub": format!("system:serviceaccount:{namespace}:{name}"),
        });
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(&json!({ "alg": "HS256", "typ": "JWT" })), encode(&claims));
        let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&self.key, signed.as_bytes()));
        let end = k8s_openapi::jiff::Timestamp::from_second(now + life).map_err(ApiError::internal)?;
        request["spec"]["audiences"] = audiences;
        request["spec"]["expirationSeconds"] = json!(life);
        request["status"] = json!({ "token": format!("{signed}.{signature}"), "expirationTimestamp": crate::object::time_text(end) });
        Ok(())
    }
}

/// The secret in a file, drawn if there is none.
fn secret(path: &Path) -> Result<String, CertificateError> {
    match std::fs::read_to_string(path) {
        Ok(text) if !text.trim().is_empty() => Ok(text.trim().to_owned()),
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(CertificateError::File { path: path.to_owned(), source }),
        Ok(_) | Err(_) => {
            let mut bytes = [0; 32];
            crate::registry::fill_random(&mut bytes)
                .map_err(|error| CertificateError::File { path: path.to_owned(), source: std::io::Error::other(error) })?;
            let text = URL_SAFE_NO_PAD.encode(bytes);
            write_file(path, &format!("{text}\n"), 0o600)?;
            Ok(text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::security::users::Role;

    #[test]
    fn tokens_of_files_and_of_service_accounts_are_told_apart() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let tokens = Tokens::load_or_make(folder.path()).expect("made");
        let account = |namespace: &str, name: &str| (namespace == "ns" && name == "sa").then(|| "u1".to_owned());
        let admin = std::fs::read_to_string(folder.path().join("admin.token")).expect("there");
        assert_eq!(tokens.user(admin.trim(), 0, account).map(|user| user.role()), Some(Role::Admin));
        let again = Tokens::load_or_make(folder.path()).expect("read");
        assert!(again.user(admin.trim(), 0, account).is_some());
        let mut request = json!({ "spec": { "expirationSeconds": 600 } });
        tokens.issue(&mut request, "ns", "sa", "u1", 1000, "id").expect("issued");
        let token = request["status"]["token"].as_str().expect("a token").to_owned();
        let user = again.user(&token, 1599, account).expect("valid");
        assert_eq!((user.name.as_str(), user.role()), ("system:serviceaccount:ns:sa", Role::Known));
        assert_eq!(tokens.user(&token, 1600, account), None, "it is over");
        assert_eq!(tokens.user(&token, 1000, |_, _| Some("u2".to_owned())), None, "another account of that name");
        assert_eq!(tokens.user(&token, 1000, |_, _| None), None, "the account is gone");
        let mut forged = token.clone();
        forged.replace_range(40..41, if &token[40..41] == "A" { "B" } else { "A" });
        assert_eq!(tokens.user(&forged, 1000, account), None);
        assert_eq!(tokens.user("", 0, account), None);
        let mut short = json!({ "spec": { "expirationSeconds": 5 } });
        assert_eq!(tokens.issue(&mut short, "ns", "sa", "u1", 0, "id").expect_err("too short").code, 422);
    }
}
