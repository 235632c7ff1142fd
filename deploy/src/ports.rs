//! Ports on the loopback: given, kept from the last start, or free.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::error::DeployError;
use crate::service::Service;

/// Below the usual range of outgoing connections (32768 up), so that none of them takes a port between our check and
/// the service's bind.
const FIRST: u16 = 20_000;
const LAST: u16 = 31_999;

/// Hands out ports, none of them twice.
#[derive(Debug)]
pub(crate) struct PortAllocator {
    next: u16,
    handed_out: Vec<u16>,
}

impl PortAllocator {
    /// Begins at a place that depends on the data directory, so that two sets of services started at the same moment
    /// do not race for the same ports.
    pub(crate) fn new(data: &Path) -> Self {
        let hash = Sha256::digest(data.as_os_str().as_encoded_bytes());
        let place = hash.first_chunk::<2>().map_or(0, |bytes| u16::from_be_bytes(*bytes));
        Self { next: FIRST + place % (LAST - FIRST + 1), handed_out: Vec::new() }
    }

    /// Takes exactly this port.
    ///
    /// # Errors
    /// [`DeployError::PortTaken`].
    pub(crate) fn given(&mut self, service: Service, port: u16) -> Result<u16, DeployError> {
        if self.handed_out.contains(&port) || !is_free(port) {
            return Err(DeployError::PortTaken { service, port });
        }
        self.handed_out.push(port);
        Ok(port)
    }

    /// Takes the preferred port if it is free, otherwise any free one.
    ///
    /// # Errors
    /// [`DeployError::NoFreePort`].
    pub(crate) fn free(&mut self, service: Service, preferred: Option<u16>) -> Result<u16, DeployError> {
        if let Some(port) = preferred
            && self.given(service, port).is_ok()
        {
            return Ok(port);
        }
        for _ in FIRST..=LAST {
            let port = self.next;
            self.next = if port >= LAST { FIRST } else { port + 1 };
            if self.given(service, port).is_ok() {
                return Ok(port);
            }
        }
        Err(DeployError::NoFreePort { service, from: FIRST, to: LAST })
    }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_refused_when_given_and_avoided_when_preferred() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let mut ports = PortAllocator::new(Path::new("/x"));
        let error = ports.given(Service::Kafka, port).unwrap_err().to_string();
        assert_eq!(error, format!("kafka: port {port} on 127.0.0.1 is taken by another process"));
        let other = ports.free(Service::Kafka, Some(port)).unwrap();
        assert_ne!(other, port);
        assert!((FIRST..=LAST).contains(&other));
    }

    #[test]
    fn no_port_is_handed_out_twice() {
        let mut ports = PortAllocator::new(Path::new("/x"));
        let first = ports.free(Service::Kafka, None).unwrap();
        assert!(ports.given(Service::Registry, first).is_err());
        assert_ne!(ports.free(Service::Registry, Some(first)).unwrap(), first);
    }
}
