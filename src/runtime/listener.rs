//! A listening socket whose `accept` can be ended.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::stop::Stop;

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 1024;

/// How long to rest when the system has no room for another connection.
const REST: Duration = Duration::from_millis(100);

/// How long waking our own `accept` may take.
const WAKE: Duration = Duration::from_millis(500);

pub struct Listener {
    socket: TcpListener,
    stop: Stop,
}

/// Ends a [`Listener::accept`] from another thread.
#[derive(Clone)]
pub struct Waker {
    address: SocketAddr,
    stop: Stop,
}

impl Listener {
    /// Listens on `address`; port 0 lets the system choose.
    pub fn bind(address: SocketAddr, stop: Stop) -> io::Result<Listener> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        // On Unix this only skips the wait after our own last run; on Windows it would let
        // another program steal the port.
        #[cfg(unix)]
        socket.set_reuse_address(true)?;
        if address.is_ipv6() && address.ip().is_unspecified() {
            socket.set_only_v6(false)?;
        }
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(Listener {
            socket: socket.into(),
            stop,
        })
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    pub fn waker(&self) -> io::Result<Waker> {
        Ok(Waker {
            address: self.local_addr()?,
            stop: self.stop.clone(),
        })
    }

    /// The next connection, or `None` once a stop is requested.
    pub fn accept(&self) -> Option<(TcpStream, SocketAddr)> {
        loop {
            if self.stop.is_requested() {
                return None;
            }
            match self.socket.accept() {
                Ok((socket, from)) if !self.stop.is_requested() => {
                    return Some((socket, canonical(from)));
                }
                Ok(_) => return None,
                // Out of descriptors, or a client that left in the queue: neither ends us.
                Err(error) => {
                    log::warn!(target: "accept", "a connection could not be accepted: {error}");
                    self.stop.sleep(REST);
                }
            }
        }
    }
}

impl Waker {
    /// Requests the stop and frees a blocked `accept` by a connection to ourselves.
    pub fn stop(&self) {
        self.stop.request();
        let ip = match self.address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        let _ = TcpStream::connect_timeout(&SocketAddr::new(ip, self.address.port()), WAKE);
    }
}

/// An IPv4 address that came in by an IPv6 socket is an IPv4 address.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_ends_when_told() {
        for address in ["127.0.0.1:0", "0.0.0.0:0"] {
            let listener = Listener::bind(address.parse().unwrap(), Stop::new()).unwrap();
            let waker = listener.waker().unwrap();
            let accept = std::thread::spawn(move || listener.accept().is_none());
            waker.stop();
            assert!(accept.join().unwrap());
        }
    }
}
