//! A server that answers each connection with all that it was sent, backwards, as soon as its client has ended its side.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

/// Serves for ever at `HOST:PORT`, a thread for each connection.
pub(crate) fn serve(address: &str) -> std::io::Result<()> {
    let listener = TcpListener::bind(address)?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream));
        }
    });
    Ok(())
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all)?;
    all.reverse();
    stream.write_all(&all)
}
