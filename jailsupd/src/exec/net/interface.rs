//! A link as the kernel shows it.

use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVlan, LinkAttribute, LinkInfo, LinkLayerType, LinkMessage,
};

/// The group (`IFLA_GROUP`) of bridges and ports that are made on the host for jails, by which they are known again: `jail`
/// in ASCII.
pub(super) const OURS: u32 = 0x6a61_696c;
/// That of VLANs, which are others' to speak on, too: `vlan`.
pub(super) const OUR_VLANS: u32 = 0x766c_616e;

/// A link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Whether it is loopback.
    pub loopback: bool,
    /// Bytes of its largest packet.
    pub mtu: u32,
    /// Its Ethernet address, if it has one.
    pub mac: Option<[u8; 6]>,
    /// Whether it is of a kind that jailsupd makes in jails, and not one that the kernel puts into
    /// each new network namespace.
    pub is_of_jail: bool,
    /// The number of the link that it is a VLAN of, and the VLAN's.
    pub vlan: Option<(u32, u16)>,
    /// Whether jailsupd has made it on the host.
    pub is_ours: bool,
    /// Whether it is a bridge.
    pub is_bridge: bool,
    /// Whether it is one end of a pair.
    pub is_veth: bool,
}

impl Interface {
    /// Whether it is the bridge of one of the host's own networks.
    #[must_use]
    pub const fn is_network(&self) -> bool {
        self.is_ours && self.is_bridge
    }

    /// What a message of the kernel says of it; none of a link without a name, which there is not.
    pub(super) fn read(link: &LinkMessage) -> Option<Self> {
        let (mut name, mut mtu, mut lower, mut group) = (None, 0, None, 0);
        let (mut is_of_jail, mut id, mut mac) = (false, None, None);
        let (mut is_bridge, mut is_veth) = (false, false);
        for attribute in &link.attributes {
            match attribute {
                LinkAttribute::IfName(text) => name = Some(text.clone()),
                LinkAttribute::Mtu(bytes) => mtu = *bytes,
                LinkAttribute::Address(address) => mac = address.as_slice().try_into().ok(),
                LinkAttribute::Link(index) => lower = Some(*index),
                LinkAttribute::Group(number) => group = *number,
                LinkAttribute::LinkInfo(infos) => {
                    let is = |kind| infos.contains(&LinkInfo::Kind(kind));
                    (is_bridge, is_veth) = (is(InfoKind::Bridge), is(InfoKind::Veth));
                    is_of_jail = is(InfoKind::MacVlan) || is(InfoKind::IpVlan) || is_veth;
                    id = infos.iter().find_map(vlan_id);
                }
                _ => {}
            }
        }
        Some(Self {
            index: link.header.index,
            name: name?,
            loopback: link.header.link_layer_type == LinkLayerType::Loopback,
            mtu,
            mac,
            is_of_jail,
            vlan: lower.zip(id),
            is_ours: [OURS, OUR_VLANS].contains(&group),
            is_bridge,
            is_veth,
        })
    }
}

fn vlan_id(info: &LinkInfo) -> Option<u16> {
    let LinkInfo::Data(InfoData::Vlan(data)) = info else { return None };
    data.iter().find_map(|one| match one {
        InfoVlan::Id(id) => Some(*id),
        _ => None,
    })
}
