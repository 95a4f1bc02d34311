//! An HTTP connection whose waiting can be ended, for `ureq`.
//!
//! `ureq` itself would shut the socket down from another thread. That wakes no reader on Windows, so
//! here the reader looks at a stop flag now and then.

use ureq::Error;
use ureq::unversioned::transport::time::Duration;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

use crate::runtime::stop::Stop;
use crate::runtime::stream::POLL;

/// Stands in a chain of connectors behind the one that makes the socket.
#[derive(Debug)]
pub struct StoppableConnector(pub Stop);

#[derive(Debug)]
pub struct Stoppable<T> {
    below: T,
    stop: Stop,
}

impl<T: Transport> Connector<T> for StoppableConnector {
    type Out = Stoppable<T>;

    fn connect(
        &self,
        _: &ConnectionDetails<'_>,
        chained: Option<T>,
    ) -> Result<Option<Stoppable<T>>, Error> {
        let stop = self.0.clone();
        Ok(chained.map(|below| Stoppable { below, stop }))
    }
}

impl<T: Transport> Transport for Stoppable<T> {
    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let began = std::time::Instant::now();
        loop {
            if self.stop.is_requested() {
                return Err(std::io::Error::other("stopped").into());
            }
            let left = timeout.after.saturating_sub(began.elapsed());
            let glance = NextTimeout {
                after: Duration::Exact(left.min(POLL)),
                ..timeout
            };
            match self.below.await_input(glance) {
                Err(Error::Timeout(_)) if left > POLL => {}
                result => return result,
            }
        }
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.below.transmit_output(amount, timeout)
    }

    fn buffers(&mut self) -> &mut dyn Buffers {
        self.below.buffers()
    }

    fn is_open(&mut self) -> bool {
        self.below.is_open()
    }

    fn is_tls(&self) -> bool {
        self.below.is_tls()
    }
}
