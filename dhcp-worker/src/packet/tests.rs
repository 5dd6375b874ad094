use super::*;
use crate::wire::example::{MAC, identity};
use proptest::prelude::*;

const SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x53];
const XID: u32 = 0x1234_5678;

fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, last)
}

/// A server's message with these options, as it comes from the wire.
fn message(kind: u8, yours: Ipv4Addr, options: &[(u8, &[u8])]) -> Vec<u8> {
    let mut text = vec![0; 240];
    text[0..4].copy_from_slice(&[2, 1, 6, 0]);
    text[4..8].copy_from_slice(&XID.to_be_bytes());
    text[16..20].copy_from_slice(&yours.octets());
    text[28..34].copy_from_slice(&MAC);
    text[236..240].copy_from_slice(&[0x63, 0x82, 0x53, 0x63]);
    text.extend([53, 1, kind]);
    for (number, value) in options {
        for part in value.chunks(255) {
            text.extend([*number, u8::try_from(part.len()).unwrap()]);
            text.extend(part);
        }
    }
    text.push(255);
    let mut bytes = datagram(ip(53), ip(7), &text);
    // As from a server to a client.
    bytes[20..24].copy_from_slice(&[0, 67, 0, 68]);
    bytes
}

const USUAL: [(u8, &[u8]); 5] = [
    (1, &[255, 255, 255, 0]),
    (3, &[192, 0, 2, 1]),
    (51, &[0, 0, 14, 16]),
    (54, &[192, 0, 2, 53]),
    (6, &[192, 0, 2, 53, 192, 0, 2, 54]),
];

fn ack(more: &[(u8, &[u8])]) -> Option<Lease> {
    let is_given = |number| more.iter().any(|(given, _)| *given == number);
    let usual = USUAL.into_iter().filter(|(number, _)| !is_given(*number));
    let options: Vec<(u8, &[u8])> = usual.chain(more.iter().copied()).collect();
    match understand(IP, SERVER_MAC, &message(5, ip(7), &options), MAC)? {
        Packet::Answer(Answer { xid: XID, kind: AnswerKind::Ack(lease) }) => Some(lease),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_lease_is_what_the_options_say() {
    let lease = ack(&[(15, b"example.org"), (26, &[5, 120])]).unwrap();
    assert_eq!(
        lease,
        Lease {
            address: ip(7),
            length: 24,
            router: Some(ip(1)),
            routes: Vec::new(),
            dns: vec![ip(53), ip(54)],
            search: vec!["example.org".to_owned()],
            mtu: Some(1400),
            server: ip(53),
            server_mac: SERVER_MAC,
            seconds: 3600,
            t1: 1800,
            t2: 3150,
        }
    );
}

#[test]
fn routes_without_classes_go_before_the_router() {
    // RFC 3442: 10.0.0.0/8 by .2, 192.0.2.128/25 on the link, everything else by .3.
    let routes = [8, 10, 192, 0, 2, 2, 25, 192, 0, 2, 128, 0, 0, 0, 0, 0, 192, 0, 2, 3];
    let lease = ack(&[(121, &routes)]).unwrap();
    assert_eq!(lease.router, Some(ip(3)));
    let on_link = (ip(128), 25, Ipv4Addr::UNSPECIFIED);
    assert_eq!(lease.routes, [(Ipv4Addr::new(10, 0, 0, 0), 8, ip(2)), on_link]);
    // One that is cut short says nothing, and the router holds.
    let lease = ack(&[(121, &routes[..10])]).unwrap();
    assert_eq!((lease.router, lease.routes), (Some(ip(1)), Vec::new()));
}

#[test]
fn domains_may_be_in_parts_and_point_back_but_not_in_a_circle() {
    let value = b"\x03eng\x07example\x03org\x00\x05sales\xc0\x04\xc0\x04";
    assert_eq!(domains(value), ["eng.example.org", "sales.example.org", "example.org"]);
    assert_eq!(domains(b"\xc0\x00"), [""; 0]);
    assert_eq!(domains(b"\x01a\xc0\x02"), [""; 0]);
    // Longer than one option can be.
    let long: Vec<u8> = (0..20).flat_map(|_| b"\x0eabcdefghijklmn\x03org\x00".to_vec()).collect();
    assert_eq!(ack(&[(119, &long)]).unwrap().search, vec!["abcdefghijklmn.org"; DOMAINS_MAX]);
    assert_eq!(domain(b"bad domain"), None);
    assert_eq!(domain(b"example.org\0"), Some("example.org".to_owned()));
}

#[test]
fn times_that_make_no_sense_are_those_of_the_rule() {
    assert_eq!(times(800, None, None), (400, 700));
    assert_eq!(times(800, Some(100), Some(200)), (100, 200));
    assert_eq!(times(800, Some(100), None), (100, 700));
    for (t1, t2) in [(900, 950), (300, 200), (0, 100), (100, 800)] {
        assert_eq!(times(800, Some(t1), Some(t2)), (400, 700));
    }
    assert_eq!(times(Lease::FOR_EVER, Some(1), Some(2)), (Lease::FOR_EVER, Lease::FOR_EVER));
}

#[test]
fn answers_to_others_and_of_no_use_are_none() {
    let lease = [&USUAL[..]].concat();
    let good = message(2, ip(7), &lease);
    assert!(understand(IP, SERVER_MAC, &good, MAC).is_some());
    assert_eq!(understand(IP, SERVER_MAC, &good, [2; 6]), None);
    assert_eq!(understand(ARP, SERVER_MAC, &good, MAC), None);
    assert_eq!(understand(0x86dd, SERVER_MAC, &good, MAC), None);
    // No address, no time, no server; a mask with holes.
    assert_eq!(understand(IP, SERVER_MAC, &message(2, ip(7), &lease[..2]), MAC), None);
    let broadcast = message(5, Ipv4Addr::BROADCAST, &lease);
    assert_eq!(understand(IP, SERVER_MAC, &broadcast, MAC), None);
    assert_eq!(length(ip(7), Some(0xff00_ff00)), None);
    assert_eq!(length(ip(7), Some(0)), None);
    assert_eq!(length(Ipv4Addr::new(10, 0, 0, 1), None), Some(8));
    // A wrong sum of the IP header.
    let mut wrong = good;
    wrong[8] ^= 1;
    assert_eq!(understand(IP, SERVER_MAC, &wrong, MAC), None);
}

#[test]
fn questions_are_what_servers_read() {
    let frame = ask(&identity(), Question::Take(ip(7), ip(53)), XID, 9).unwrap();
    assert_eq!((frame.protocol, frame.to), (IP, BROADCAST));
    let packet = Ipv4Packet::new_checked(&frame.bytes[..]).unwrap();
    let sums = ChecksumCapabilities::default();
    let header = Ipv4Repr::parse(&packet, &sums).unwrap();
    assert_eq!((header.src_addr, header.dst_addr), (Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST));
    let datagram = UdpPacket::new_checked(packet.payload()).unwrap();
    let message = DhcpPacket::new_checked(datagram.payload()).unwrap();
    let options: Vec<DhcpOption<'_>> = message.options().collect();
    assert_eq!(whole(&options, option::MESSAGE_TYPE), [3]);
    assert_eq!(whole(&options, 50), ip(7).octets());
    assert_eq!(whole(&options, option::SERVER), ip(53).octets());
    assert_eq!(whole(&options, option::CLIENT_ID), identity().client_id);
    assert_eq!(whole(&options, option::HOST_NAME), b"web");
    assert_eq!(whole(&options, 55), ASKED_FOR);
    assert!(datagram.payload().len() >= MESSAGE_MIN);

    // What has an address asks with that, and its server alone.
    let server = Some((ip(53), SERVER_MAC));
    let frame = ask(&identity(), Question::Extend(ip(7), server), XID, 0).unwrap();
    let packet = Ipv4Packet::new_checked(&frame.bytes[..]).unwrap();
    assert_eq!((packet.src_addr(), packet.dst_addr(), frame.to), (ip(7), ip(53), SERVER_MAC));
}

#[test]
fn a_lease_that_is_over_at_once_is_none() {
    let with = |seconds: u32| ack(&[(51, &seconds.to_be_bytes())]);
    assert_eq!(with(SHORTEST - 1), None);
    assert_eq!(with(SHORTEST).map(|lease| lease.seconds), Some(SHORTEST));
}

#[test]
fn a_probe_asks_for_an_address_and_claims_none() {
    let frame = probe(MAC, ip(7));
    let claim = Claim { by: MAC, has: None, wants: ip(7) };
    let other = [2; 6];
    assert_eq!(understand(frame.protocol, MAC, &frame.bytes, other), Some(Packet::Claim(claim)));
    // One's own says nothing.
    assert_eq!(understand(frame.protocol, MAC, &frame.bytes, MAC), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    /// Whatever a network sends: it is understood or not, and that is all.
    #[test]
    fn no_packet_does_harm(protocol in prop_oneof![Just(IP), Just(ARP), any::<u16>()], bytes in prop::collection::vec(any::<u8>(), 0..PACKET_MAX)) {
        let _ = understand(protocol, SERVER_MAC, &bytes, MAC);
    }

    /// A good message with some bytes that are others.
    #[test]
    fn no_message_does_harm(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..40),
        kind in 0u8..9,
        search in prop::collection::vec(any::<u8>(), 0..400),
        routes in prop::collection::vec(any::<u8>(), 0..400),
        end in any::<prop::sample::Index>(),
    ) {
        let options = [&USUAL[..], &[(119, &search[..]), (121, &routes[..])]].concat();
        let mut bytes = message(kind, ip(7), &options);
        for (index, byte) in changes {
            // All but the IP header, whose sum would be wrong.
            let at = 20 + index.index(bytes.len() - 20);
            bytes[at] = byte;
        }
        let _ = understand(IP, SERVER_MAC, &bytes, MAC);
        let cut = end.index(bytes.len());
        let _ = understand(IP, SERVER_MAC, &bytes[..cut], MAC);
        if let Some(Packet::Answer(Answer { kind: AnswerKind::Ack(lease) | AnswerKind::Offer(lease), .. })) =
            understand(IP, SERVER_MAC, &bytes, MAC)
        {
            prop_assert!((1..=32).contains(&lease.length) && is_of_a_host(lease.address));
            prop_assert!(lease.t1 <= lease.t2 && lease.t2 <= lease.seconds && lease.seconds >= SHORTEST);
            prop_assert!(lease.search.iter().all(|name| is_domain(name)) && lease.search.len() <= DOMAINS_MAX);
            let text = serde_json::to_vec(&lease).unwrap();
            prop_assert!(text.len() < crate::wire::MESSAGE_MAX);
        }
    }
}
