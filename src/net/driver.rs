//! The seam between networks as data and networks in the kernel.
//!
//! A driver makes what it is told and decides nothing: addresses, names and order are chosen before.
//! Every method is safe to repeat, finds what is right and leaves it, and never touches what belongs
//! to somebody else. Removal only begins here; [`Driver::settled`] tells when it is done.

use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use orc_base::{Id, Result};
use tokio::sync::oneshot;

use crate::model::{Endpoint, Network};

/// A container's end of the work.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    /// Whose endpoint it is.
    pub(crate) container: &'a Id,
    /// Its network namespace.
    pub(crate) namespace: BorrowedFd<'a>,
    /// Whether the default route of IPv4 goes here.
    pub(crate) primary: bool,
    /// Whether the default route of IPv6 goes here.
    pub(crate) primary_ipv6: bool,
}

impl Place<'_> {
    /// The gateways of the endpoint that default routes go by.
    pub(crate) fn gateways(&self, endpoint: &Endpoint) -> Vec<IpAddr> {
        let ipv4 = endpoint.gateway.map(IpAddr::V4);
        let ipv6 = endpoint.ipv6.and_then(|place| place.gateway);
        let ipv4 = ipv4.filter(|_| self.primary);
        let ipv6 = ipv6.map(IpAddr::V6).filter(|_| self.primary_ipv6);
        ipv4.into_iter().chain(ipv6).collect()
    }
}

/// A way to connect containers.
pub(crate) trait Driver: Send {
    /// Makes the network on this host.
    fn create_network(&mut self, network: &Network) -> Result<()>;

    /// Begins to remove the network from this host; nothing may be attached to it. Its subnets and
    /// the name of its bridge can be used again at once.
    fn remove_network(&mut self, network: &Network) -> Result<()>;

    /// Gives a container its interface on the network, up and with its address.
    fn attach(&mut self, place: &Place<'_>, network: &Network, endpoint: &Endpoint) -> Result<()>;

    /// Points the default routes of a container, of which the place tells, to an endpoint that it
    /// has.
    fn route_by(&mut self, place: &Place<'_>, endpoint: &Endpoint) -> Result<()>;

    /// Begins to take a container's interface away.
    fn detach(&mut self, container: &Id, endpoint: &Endpoint) -> Result<()>;

    /// Begins to remove everything of ours that is not among these owners.
    fn remove_orphans(&mut self, owners: &dyn Fn(&Id) -> bool) -> Result<()>;

    /// Fires when all removals that have begun are done.
    fn settled(&mut self) -> oneshot::Receiver<()>;
}

/// A driver that only remembers.
#[cfg(test)]
pub(crate) mod fake {
    use std::collections::{BTreeMap, BTreeSet};

    use orc_base::Error;

    use super::{Driver, Endpoint, Id, Network, Place, Result, oneshot};

    /// Links by name, and whose they are.
    #[derive(Debug, Default)]
    pub(crate) struct FakeDriver(BTreeMap<String, Id>);

    impl FakeDriver {
        /// The names of the links that there are.
        pub(crate) fn links(&self) -> BTreeSet<String> {
            self.0.keys().cloned().collect()
        }

        fn existing(&self, name: &str) -> Result<()> {
            match self.0.contains_key(name) {
                true => Ok(()),
                false => Err(Error::not_found(format!("there is no interface {name}"))),
            }
        }
    }

    impl Driver for FakeDriver {
        fn create_network(&mut self, network: &Network) -> Result<()> {
            self.0.insert(network.bridge.clone(), network.id.clone());
            Ok(())
        }

        fn remove_network(&mut self, network: &Network) -> Result<()> {
            self.0.remove(&network.bridge);
            Ok(())
        }

        fn attach(
            &mut self,
            place: &Place<'_>,
            network: &Network,
            endpoint: &Endpoint,
        ) -> Result<()> {
            self.existing(&network.bridge)?;
            self.0
                .insert(endpoint.veth.clone(), place.container.clone());
            Ok(())
        }

        fn route_by(&mut self, _: &Place<'_>, endpoint: &Endpoint) -> Result<()> {
            self.existing(&endpoint.veth)
        }

        fn detach(&mut self, _: &Id, endpoint: &Endpoint) -> Result<()> {
            self.0.remove(&endpoint.veth);
            Ok(())
        }

        fn remove_orphans(&mut self, owners: &dyn Fn(&Id) -> bool) -> Result<()> {
            self.0.retain(|_, owner| owners(owner));
            Ok(())
        }

        fn settled(&mut self) -> oneshot::Receiver<()> {
            let (done, receiver) = oneshot::channel();
            let _ = done.send(());
            receiver
        }
    }
}
