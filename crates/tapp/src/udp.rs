//! A server that answers each packet with `by udp`.

use std::net::UdpSocket;

/// What is asked is not looked at.
const PACKET_BYTES: usize = 512;

/// Serves for ever.
pub(crate) fn serve(port: u16) -> std::io::Result<()> {
    let socket = UdpSocket::bind((crate::everywhere(), port))?;
    std::thread::spawn(move || -> std::io::Result<()> {
        let mut packet = [0; PACKET_BYTES];
        loop {
            let (_, from) = socket.recv_from(&mut packet)?;
            socket.send_to(b"by udp", from)?;
        }
    });
    Ok(())
}
