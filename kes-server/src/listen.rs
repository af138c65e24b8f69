//! Takes a port of this machine, as programs in Go do, and so MinIO and MinIO KES; for KES and for kestack.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use rustix::net::sockopt::set_ipv6_v6only;
use tokio::net::TcpSocket;

/// Takes a port; nobody can connect before the socket listens. `0.0.0.0` and `[::]` are all addresses, IPv4 and IPv6.
///
/// # Errors
/// If the port is taken, or the address is not one of this machine.
pub fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    if address.ip() == IpAddr::V4(Ipv4Addr::UNSPECIFIED) {
        match take(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), address.port())) {
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => {}
            taken => return taken,
        }
        // a machine without IPv6
    }
    take(address)
}

fn take(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if address.is_ipv6() && address.ip().is_unspecified() {
        set_ipv6_v6only(&socket, false)?;
    }
    // connections of an earlier process that are being closed do not keep us out
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn no_address_is_every_address_of_both_families() {
        for any in ["0.0.0.0:0", "[::]:0"] {
            let listener = bind(any.parse().unwrap()).unwrap().listen(8).unwrap();
            let port = listener.local_addr().unwrap().port();
            for host in ["127.0.0.1", "[::1]"] {
                TcpStream::connect(format!("{host}:{port}")).await.unwrap();
            }
            for taken in ["0.0.0.0", "127.0.0.1"] {
                let taken = bind(format!("{taken}:{port}").parse().unwrap());
                let refused = taken.and_then(|socket| socket.listen(8)).unwrap_err();
                assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
            }
        }
    }

    #[tokio::test]
    async fn an_address_is_itself_alone() {
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap().listen(8).unwrap();
        let port = listener.local_addr().unwrap().port();
        let refused = TcpStream::connect(format!("[::1]:{port}")).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }
}
