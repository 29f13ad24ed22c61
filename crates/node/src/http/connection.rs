//! A connection to the other side of a request, plain or with TLS whose certificate nobody looks at (k8s: 3.d.15).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{AlertDescription, ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader, ReadBuf};
use tokio_rustls::TlsConnector;

use super::SCHEME_MISMATCH;
use super::socket::Socket;
use super::url::Url;
use crate::go_text;

/// What is read at once: most answers to hooks and probes are shorter, and the memory for more is dearer than a second read.
const READ_BYTES: usize = 1000;

/// So many first bytes tell whether the other side speaks HTTP where TLS was meant.
const RECORD_HEADER_BYTES: usize = 5;

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A connection, and whose it is.
pub(super) struct Connection {
    stream: BufReader<Box<dyn Stream>>,
    local: SocketAddr,
    remote: SocketAddr,
}

/// Connects to the URL's host, and shakes hands if it is HTTPS.
pub(super) async fn connect(url: &Url) -> Result<Connection, String> {
    let port = url.port().ok_or_else(|| format!("dial tcp: address {}: invalid port", url.authority()))?;
    let (stream, remote) = dial(url.hostname(), port).await?;
    let local = stream.local_addr().map_err(|error| go_text::io_error(&error))?;
    let stream: Box<dyn Stream> =
        if url.scheme() == "https" { Box::pin(shake_hands(stream, url.hostname(), local, remote)).await? } else { Box::new(stream) };
    Ok(Connection { stream: BufReader::with_capacity(READ_BYTES, stream), local, remote })
}

/// Connects to the first of the host's addresses that answers; if none does, the first one's error is told, as Go does.
pub(crate) async fn dial(host: &str, port: u16) -> Result<(Socket, SocketAddr), String> {
    let mut first_error = None;
    for address in lookup(host, port).await? {
        match Socket::connect(address).await {
            Ok(stream) => return Ok((stream, address)),
            Err(error) => first_error = first_error.or_else(|| Some(go_text::dial_error(address, &error))),
        }
    }
    Err(first_error.unwrap_or_else(|| format!("dial tcp: lookup {host}: no such host")))
}

async fn lookup(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    match tokio::net::lookup_host((host, port)).await {
        Ok(addresses) => Ok(addresses.collect()),
        Err(error) => Err(format!("dial tcp: lookup {host}: {}", lookup_problem(&error))),
    }
}

fn lookup_problem(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.strip_prefix("failed to lookup address information: ").unwrap_or(&text);
    match text {
        "Name or service not known" | "No address associated with hostname" => "no such host".to_owned(),
        other => other.to_owned(),
    }
}

async fn shake_hands(stream: Socket, host: &str, local: SocketAddr, remote: SocketAddr) -> Result<Box<dyn Stream>, String> {
    // It saves the wait that joins small writes.
    let _ = stream.set_nodelay();
    let config = client_config().map_err(|error| format!("tls: {error}"))?;
    // An address, and what is no name, is not sent to the other side.
    let name = ServerName::try_from(host.to_owned()).unwrap_or_else(|_| ServerName::from(remote.ip()));
    let sniffed = Sniffed { stream, first: Vec::with_capacity(RECORD_HEADER_BYTES) };
    match TlsConnector::from(Arc::new(config)).connect(name, sniffed).into_fallible().await {
        Ok(tls) => Ok(Box::new(tls)),
        Err((error, sniffed)) => Err(handshake_problem(&error, &sniffed.first, local, remote)),
    }
}

fn handshake_problem(error: &io::Error, first: &[u8], local: SocketAddr, remote: SocketAddr) -> String {
    if first == b"HTTP/" {
        return SCHEME_MISMATCH.to_owned();
    }
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::AlertReceived(alert)) => format!("remote error: tls: {}", alert_words(*alert)),
        Some(rustls::Error::InvalidMessage(_)) => "tls: first record does not look like a TLS handshake".to_owned(),
        Some(other) => format!("tls: {other}"),
        None if error.kind() == io::ErrorKind::UnexpectedEof => "EOF".to_owned(),
        None => go_text::stream_error("read", local, remote, error),
    }
}

/// `HandshakeFailure` as `handshake failure`.
fn alert_words(alert: AlertDescription) -> String {
    if alert == AlertDescription::ProtocolVersion {
        return "protocol version not supported".to_owned();
    }
    let mut words = String::new();
    for letter in format!("{alert:?}").chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
    }
    words
}

fn client_config() -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(AnyCertificate { provider: Arc::clone(&provider) });
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Takes whatever certificate there is. Its signatures are not checked either: without a name to hold on to they prove nothing.
#[derive(Debug)]
struct AnyCertificate {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl Connection {
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        let stream = self.stream.get_mut();
        let written = async {
            stream.write_all(bytes).await?;
            stream.flush().await
        };
        written.await.map_err(|error| go_text::stream_error("write", self.local, self.remote, &error))
    }

    /// Reads up to the end of a line, the end of the stream, or so many bytes.
    pub(super) async fn read_line(&mut self, bytes_max: usize) -> Result<Vec<u8>, String> {
        let mut line = Vec::new();
        let mut limited = (&mut self.stream).take(bytes_max as u64);
        match limited.read_until(b'\n', &mut line).await {
            Ok(_) => Ok(line),
            Err(error) => self.read_problem(&error).map(|()| line),
        }
    }

    /// Reads so many bytes, or up to the end of the stream.
    pub(super) async fn read_up_to(&mut self, bytes_max: u64, into: &mut Vec<u8>) -> Result<(), String> {
        match (&mut self.stream).take(bytes_max).read_to_end(into).await {
            Ok(_) => Ok(()),
            Err(error) => self.read_problem(&error),
        }
    }

    /// TLS that ends without saying good-bye has ended all the same.
    fn read_problem(&self, error: &io::Error) -> Result<(), String> {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return Ok(());
        }
        Err(go_text::stream_error("read", self.local, self.remote, error))
    }
}

/// Remembers the first bytes that came.
struct Sniffed {
    stream: Socket,
    first: Vec<u8>,
}

impl AsyncRead for Sniffed {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        let room = RECORD_HEADER_BYTES - self.first.len();
        self.first.extend(buffer.filled()[before..].iter().take(room));
        polled
    }
}

impl AsyncWrite for Sniffed {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
