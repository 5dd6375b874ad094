//! Routes that leases of DHCP say.

use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope,
    RouteType,
};
use std::net::Ipv4Addr;

/// The metric of routes that a lease says.
const LENT: u32 = 1024;

/// A route that a lease says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LentRoute {
    /// The subnet, and bits of its prefix; 0 for all others.
    pub to: (Ipv4Addr, u8),
    /// The next hop; none when it is on the link.
    pub via: Option<Ipv4Addr>,
    /// The address that goes with it: the kernel takes both away together.
    pub from: Ipv4Addr,
}

impl LentRoute {
    pub(super) fn message(&self, index: u32) -> RouteMessage {
        let (to, length) = self.to;
        let mut route = RouteMessage::default();
        route.header.address_family = AddressFamily::Inet;
        route.header.destination_prefix_length = length;
        route.header.table = RouteHeader::RT_TABLE_MAIN;
        route.header.protocol = RouteProtocol::Dhcp;
        route.header.kind = RouteType::Unicast;
        route.header.scope = RouteScope::Link;
        route.attributes = vec![
            RouteAttribute::Oif(index),
            RouteAttribute::PrefSource(RouteAddress::Inet(self.from)),
            // Of their own, so that they are in nobody's place.
            RouteAttribute::Priority(LENT),
        ];
        if length > 0 {
            route.attributes.push(RouteAttribute::Destination(RouteAddress::Inet(to)));
        }
        if let Some(via) = self.via {
            route.header.scope = RouteScope::Universe;
            // A server may give an address whose subnet the router is not in.
            route.header.flags = RouteFlags::Onlink;
            route.attributes.push(RouteAttribute::Gateway(RouteAddress::Inet(via)));
        }
        route
    }
}
