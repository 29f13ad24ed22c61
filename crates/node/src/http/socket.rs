//! A TCP socket that is waited for only where there is something to wait for.
//!
//! Towards a pod of the same machine a connection is made, and a short request sent, before the calls that ask for it return. A socket
//! that the engine's poller is told of takes two calls more, and a turn of the poller for each wait: most of what a probe costs beside
//! the connection itself.
//!
//! Before each of the two it lets others of its thread go first. So what many probes do at the same time is done in rows, all connections
//! and then all requests, and costs less than one probe after the other, each of which would find the caches filled with something else.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::io::Errno;
use rustix::net::sockopt::set_tcp_quickack;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, getpeername, socket_with};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A connected socket.
#[derive(Debug)]
pub(crate) struct Socket {
    /// As long as nothing was waited for.
    plain: Option<std::net::TcpStream>,
    /// From the first wait on.
    polled: Option<TcpStream>,
}

impl Socket {
    pub(crate) async fn connect(address: SocketAddr) -> io::Result<Self> {
        tokio::task::yield_now().await;
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = socket_with(family, SocketType::STREAM, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None)?;
        // The last word of the handshake may come with the request, or with the end: a packet less.
        let _ = set_tcp_quickack(&socket, false);
        let is_connected = match connect(&socket, &address) {
            Ok(()) => true,
            Err(Errno::INPROGRESS) => getpeername(&socket).is_ok(),
            Err(error) => return Err(error.into()),
        };
        let plain = std::net::TcpStream::from(socket);
        if is_connected {
            return Ok(Self { plain: Some(plain), polled: None });
        }
        let polled = TcpStream::from_std(plain)?;
        polled.writable().await?;
        match polled.take_error()? {
            Some(error) => Err(error),
            None => Ok(Self { plain: None, polled: Some(polled) }),
        }
    }

    /// This side's address.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        match (&self.plain, &self.polled) {
            (Some(plain), _) => plain.local_addr(),
            (None, Some(polled)) => polled.local_addr(),
            (None, None) => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Small writes go out at once.
    pub(crate) fn set_nodelay(&self) -> io::Result<()> {
        match (&self.plain, &self.polled) {
            (Some(plain), _) => plain.set_nodelay(true),
            (None, Some(polled)) => polled.set_nodelay(true),
            (None, None) => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// The socket, which the poller knows of from now on.
    fn polled(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        if let Some(plain) = self.plain.take() {
            self.polled = Some(TcpStream::from_std(plain)?);
        }
        self.polled.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.polled()?.poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        while let Some(plain) = &mut self.plain {
            match plain.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                written => return Poll::Ready(written),
            }
        }
        self.polled()?.poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A socket keeps nothing back.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.polled()?.poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// Far more than the kernel keeps for a socket.
    const MUCH: usize = 8 << 20;

    #[tokio::test]
    async fn a_connection_that_is_there_at_once_is_not_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let socket = Socket::connect(listener.local_addr().expect("an address")).await.expect("connected");
        assert!(socket.plain.is_some() && socket.polled.is_none(), "{socket:?}");
    }

    #[tokio::test]
    async fn a_port_on_which_nobody_listens_refuses() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        drop(listener);
        let error = Socket::connect(address).await.expect_err("nobody listens");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn a_connection_whose_queue_is_full_is_waited_for_until_it_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        rustix::net::listen(&listener, 0).expect("a queue of one");
        let address = listener.local_addr().expect("an address");
        let first = Socket::connect(address).await.expect("connected");
        let mut waiting = Vec::new();
        // How many fit in beside the first is the kernel's business, but not all.
        for _ in 0..4 {
            let mut connecting = Box::pin(Socket::connect(address));
            let polled = std::future::poll_fn(|context| Poll::Ready(connecting.as_mut().poll(context))).await;
            if polled.is_pending() {
                waiting.push(connecting);
            }
        }
        assert!(!waiting.is_empty(), "all were connected, though nobody takes them");
        drop((waiting, first));
    }

    #[tokio::test]
    async fn what_does_not_fit_is_sent_when_there_is_room_and_the_answer_is_read() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        set_socket_recv_buffer_size(&listener, 4096).expect("set");
        let mut socket = Socket::connect(listener.local_addr().expect("an address")).await.expect("connected");
        set_socket_send_buffer_size(socket.plain.as_ref().expect("not waited for"), 4096).expect("set");
        let (peer, _) = listener.accept().expect("accepted");
        let reading = tokio::task::spawn_blocking(move || {
            let mut peer = peer;
            let mut read = vec![0; MUCH];
            io::Read::read_exact(&mut peer, &mut read).map(|()| peer.write_all(b"enough")).map(|_| read)
        });
        let sent: Vec<u8> = (0..MUCH).map(|number| u8::try_from(number % 251).unwrap_or_default()).collect();
        socket.write_all(&sent).await.expect("sent");
        let mut answer = [0; 6];
        socket.read_exact(&mut answer).await.expect("answered");
        assert_eq!(&answer, b"enough");
        assert!(reading.await.expect("it ends").expect("read") == sent, "something else came");
        assert!(socket.plain.is_none());
    }
}
