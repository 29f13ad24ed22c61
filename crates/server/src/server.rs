//! The API server as a whole: its files, its listeners, its end.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::backend::Backend;
use crate::client::NodeClient;
use crate::http::{ListenError, Listeners, Metrics, Patience, Shared};
use crate::lives::Lives;
use crate::registry::{Registry, now};
use crate::security::certificates::CertificateError;
use crate::security::identity::{Identity, KUBECONFIG_FILE, Renewal, SECRETS_FOLDER};
use crate::security::tokens::Tokens;
use crate::status::ApiError;
use crate::store::{OpenError, Store};

/// The store's file in the server's folder.
pub const STORE_FILE: &str = "store.redb";

/// Time between two looks for events whose time is over.
const EXPIRE_EVERY: Duration = Duration::from_secs(60);

/// What the server is to be like.
pub struct Config {
    /// Where its files are.
    pub folder: PathBuf,
    /// Where it listens with TLS.
    pub listen: Vec<SocketAddr>,
    /// Where it listens for root of this machine.
    pub socket: Option<PathBuf>,
    /// The name of the node.
    pub node: String,
    /// What the node does for its pods and another may not.
    pub support: api::NodeSupport,
    /// Names and addresses by which it is reached, besides the usual ones.
    pub names: Vec<String>,
    /// The engine behind it.
    pub backend: Arc<dyn Backend>,
    /// What it remembers of its pods.
    pub lives: Arc<dyn Lives>,
    /// How long it waits for its clients.
    pub patience: Patience,
    /// The metrics of the process: the server adds its own and shows them all.
    pub metrics: prometheus::Registry,
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config").field("folder", &self.folder).field("listen", &self.listen).finish_non_exhaustive()
    }
}

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its folder cannot be used.
    #[error("cannot use the folder {}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Its certificates cannot be used.
    #[error(transparent)]
    Certificates(#[from] CertificateError),
    /// Its store cannot be used.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// It cannot listen.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Its metrics cannot be counted: another server counts into the same registry.
    #[error("cannot count metrics")]
    Metrics(#[from] prometheus::Error),
    /// What every machine has could not be made.
    #[error("cannot make the first objects")]
    Bootstrap(#[source] ApiError),
}

/// A server that runs. Dropping it stops it without waiting.
#[derive(Debug)]
pub struct Server {
    registry: Registry,
    addresses: Vec<SocketAddr>,
    folder: PathBuf,
    identity: Arc<Identity>,
    stop: watch::Sender<bool>,
    is_ready: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Server {
    /// Starts a server.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let folder = config.folder;
        std::fs::create_dir_all(&folder).map_err(|source| StartError::Folder { folder: folder.clone(), source })?;
        let store = Store::open(&folder.join(STORE_FILE))?;
        let listening = config.listen.iter().map(SocketAddr::ip).filter(|ip| !ip.is_unspecified()).map(|ip| ip.to_string());
        let names: Vec<String> = config.names.iter().cloned().chain(listening).collect();
        let identity = Arc::new(Identity::load_or_make(&folder, names)?);
        let tls = TlsAcceptor::from(Arc::new(identity.tls()?));
        let metrics = Metrics::register(config.metrics)?;
        let tokens = Tokens::load_or_make(&folder.join(SECRETS_FOLDER))?;
        let registry = Registry::new(store, &config.node).with_support(config.support);
        registry.bootstrap().await.map_err(StartError::Bootstrap)?;
        let listeners = Listeners::bind(&config.listen, config.socket.as_deref()).await?;
        let addresses = listeners.addresses();
        identity.write_kubeconfigs(&addresses)?;
        let (stop, stopped) = watch::channel(false);
        let is_ready = Arc::new(AtomicBool::new(false));
        let (node, state) = ((config.backend, config.lives), (stopped.clone(), Arc::clone(&is_ready)));
        let shared = Arc::new(Shared::new(registry.clone(), node, metrics, tokens, config.patience, state));
        let expiring = tokio::spawn(expire_events(registry.clone()));
        let evicting = tokio::spawn(registry.clone().keep_evicting());
        let renewing = tokio::spawn(Arc::clone(&identity).keep_renewing(addresses.clone()));
        let serving = listeners.serve(shared, tls, stopped);
        let task = tokio::spawn(async move {
            serving.await;
            expiring.abort();
            evicting.abort();
            renewing.abort();
        });
        Ok(Self { registry, addresses, folder, identity, stop, is_ready, task })
    }

    /// The engine behind it has taken up what was there before: `/readyz` says so from now on.
    pub fn ready(&self) {
        self.is_ready.store(true, Ordering::Release);
    }

    /// Where it listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join(KUBECONFIG_FILE)
    }

    /// Makes certificates anew that end soon, as it does by itself once a day.
    ///
    /// # Errors
    /// Its files cannot be used. What was there goes on.
    pub fn renew_certificates(&self) -> Result<Renewal, CertificateError> {
        self.identity.renew(&self.addresses, now())
    }

    /// The verbs on its objects.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The node's side of it.
    pub fn client(&self) -> NodeClient {
        NodeClient::new(self.registry.clone())
    }

    /// Stops: no more requests, watches and streams end, all that was acknowledged is on disk.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        let _ = self.task.await;
        self.registry.store().close().await;
    }
}

async fn expire_events(registry: Registry) {
    loop {
        tokio::time::sleep(EXPIRE_EVERY).await;
        if let Err(error) = registry.expire_events(now()).await {
            tracing::warn!(%error, "cannot take away old events");
        }
    }
}
