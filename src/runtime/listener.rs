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

/// Why nobody can be listened to at an address.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error(
        "port {port} is taken: is a tracker or peer running at {0} already? Stop it, or name another port",
        port = .0.port()
    )]
    Taken(SocketAddr),
    /// On Unix a low port; on Windows one that the system has set aside, or that another program has
    /// for itself alone.
    #[error(
        "port {port} may not be used here ({1}): name another one, from 1024 on{RESERVED}",
        port = .0.port()
    )]
    NotAllowed(SocketAddr, #[source] io::Error),
    #[error("{0} is not an address of this machine: name one that is, or 0.0.0.0 for all")]
    NotOurs(SocketAddr),
    #[error("cannot listen on {0}: {1}")]
    Other(SocketAddr, #[source] io::Error),
}

/// How to see which ports the system keeps.
const RESERVED: &str = if cfg!(windows) {
    ", that is not in the list of `netsh interface ipv4 show excludedportrange tcp`"
} else {
    ""
};

impl ListenError {
    fn new(address: SocketAddr, source: io::Error) -> ListenError {
        match source.kind() {
            io::ErrorKind::AddrInUse => ListenError::Taken(address),
            io::ErrorKind::AddrNotAvailable => ListenError::NotOurs(address),
            io::ErrorKind::PermissionDenied => ListenError::NotAllowed(address, source),
            _ => ListenError::Other(address, source),
        }
    }
}

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
    pub fn bind(address: SocketAddr, stop: Stop) -> Result<Listener, ListenError> {
        let socket = Self::listen(address).map_err(|error| ListenError::new(address, error))?;
        Ok(Listener { socket, stop })
    }

    fn listen(address: SocketAddr) -> io::Result<TcpListener> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        // On Unix this only skips the wait after our own last run. On Windows it would let another
        // program steal the port; docs/WINDOWS.md says what keeps others out.
        #[cfg(unix)]
        socket.set_reuse_address(true)?;
        if address.is_ipv6() && address.ip().is_unspecified() {
            socket.set_only_v6(false)?;
        }
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
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
        let _ = TcpStream::connect_timeout(&from_here(self.address), WAKE);
    }
}

/// Where this machine itself reaches who listens at `bound`, which may be every address.
pub fn from_here(bound: SocketAddr) -> SocketAddr {
    let ip = match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, bound.port())
}

/// An IPv4 address that came in by an IPv6 socket is an IPv4 address.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_belongs_to_one_program() {
        for address in ["127.0.0.1:0", "0.0.0.0:0"] {
            let bind = |address| Listener::bind(address, Stop::new());
            let first = bind(address.parse().unwrap()).unwrap();
            let address = first.local_addr().unwrap();
            let error = bind(address).err().expect("there are two").to_string();
            let port = address.port();
            let expect =
                format!("port {port} is taken: is a tracker or peer running at {address} already?");
            assert!(error.starts_with(&expect), "{error}");
            drop(first);
            bind(address).map(drop).expect("it is free again");
        }
    }

    #[test]
    fn an_error_says_what_to_do() {
        let check = |kind: io::ErrorKind, expect: &str| {
            let address = "10.1.2.3:700".parse().unwrap();
            let error = ListenError::new(address, kind.into()).to_string();
            assert!(error.contains(expect), "{error}");
        };
        check(io::ErrorKind::AddrInUse, "port 700 is taken");
        check(io::ErrorKind::PermissionDenied, "port 700 may not be used");
        check(
            io::ErrorKind::AddrNotAvailable,
            "10.1.2.3:700 is not an address of this machine",
        );
        check(io::ErrorKind::OutOfMemory, "cannot listen on 10.1.2.3:700");
    }

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
