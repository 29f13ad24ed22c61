//! The API server without an engine behind it, for trying clients: `serve FOLDER [ADDRESS]`.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use server::backend::NoBackend;
use server::lives::NoLives;
use server::{Config, Patience, Server};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().context("the first argument is a folder")?);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let config = Config {
        socket: Some(folder.join("api.sock")),
        folder,
        listen: vec![address.parse().context("the second argument is an address")?],
        node: "here".to_owned(),
        names: Vec::new(),
        backend: Arc::new(NoBackend),
        lives: Arc::new(NoLives::default()),
        patience: Patience::default(),
        metrics: prometheus::Registry::new(),
        support: api::NodeSupport::default(),
    };
    let server = Server::start(config).await?;
    server.ready();
    #[expect(clippy::print_stdout, reason = "it is for people")]
    {
        println!("export KUBECONFIG={}", server.kubeconfig().display());
    }
    tokio::signal::ctrl_c().await?;
    server.stop().await;
    Ok(())
}
