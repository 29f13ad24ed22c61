//! The file with which kubectl finds the server and shows who it is.

use base64::Engine as _;

use super::certificates::Pair;

/// The text of a kubeconfig for one user.
pub fn kubeconfig(server: &str, authority: &str, user: &str, pair: &Pair) -> String {
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    format!(
        "apiVersion: v1
kind: Config
clusters:
- name: usher
  cluster:
    server: {server}
    certificate-authority-data: {}
contexts:
- name: usher
  context:
    cluster: usher
    user: {user}
current-context: usher
users:
- name: {user}
  user:
    client-certificate-data: {}
    client-key-data: {}
",
        encode(authority),
        encode(&pair.certificate),
        encode(&pair.key),
    )
}
