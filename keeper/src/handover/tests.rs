//! The handover's bytes.

use super::*;
use proptest::prelude::*;

fn full() -> Handover {
    let exit = ExitRecord { inode: 9, code: 1, status: -7, user_us: 4, ..ExitRecord::default() };
    let place = Place {
        jail: Name::new("web").unwrap(),
        fds: [Some(10), None, Some(12), None, None, Some(15), None, Some(17), None],
        tracked: Some(Tracked { pid: 321, inode: 1 << 40 }),
        exit: None,
    };
    let ended =
        Place { fds: [None; Slot::ALL.len()], tracked: None, exit: Some(exit), ..place.clone() };
    Handover {
        wire: 1,
        brain: Some(5),
        report: Some(6),
        triggers: vec![7, 8],
        services: vec![
            ServiceState { name: "jailsupd".into(), pid: Some(44), age_us: 5, delay_us: 100 },
            ServiceState { name: "shell".into(), pid: None, age_us: -900, delay_us: 200 },
        ],
        places: vec![Some(place), None, Some(ended)],
    }
}

#[test]
fn everything_survives_and_both_ends_come_to_the_same_sum() {
    let bytes = full().encode();
    assert_eq!(Handover::decode(&bytes), Ok((full(), full().seen())));
    let nothing = Handover::default();
    assert_eq!(Handover::decode(&nothing.encode()).map(|(handover, _)| handover), Ok(nothing));
}

#[test]
fn every_descriptor_is_named_once() {
    let mut fds: Vec<i32> = full().fds().collect();
    fds.sort_unstable();
    assert_eq!(fds, [5, 6, 7, 8, 10, 12, 15, 17]);
}

#[test]
fn another_format_is_named() {
    let later = full().encode_as(FORMAT + 1);
    assert_eq!(Handover::decode(&later), Err(Unreadable::Format(FORMAT + 1)));
    assert_eq!(
        Unreadable::Format(2).to_string(),
        "the state is of format 2, and this program knows 1"
    );
}

#[test]
fn a_state_that_is_cut_off_anywhere_is_refused() {
    let bytes = full().encode();
    for length in 0..bytes.len() {
        assert!(Handover::decode(&bytes[..length]).is_err(), "{length}");
    }
    let longer = [bytes, vec![0]].concat();
    assert_eq!(Handover::decode(&longer), Err(Unreadable::Malformed));
}

proptest! {
    #[test]
    fn damage_is_refused_or_seen_by_the_sum(at in 0usize..600, with in any::<u8>()) {
        let mut bytes = full().encode();
        let at = at % bytes.len();
        bytes[at] = with;
        if let Ok((read, seen)) = Handover::decode(&bytes) {
            prop_assert_eq!(read == full(), seen == full().seen());
        }
    }

    #[test]
    fn any_bytes_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let headed = [full().encode()[..12].to_vec(), bytes.clone()].concat();
        let _ = Handover::decode(&headed);
        prop_assert!(Handover::decode(&bytes).is_err());
    }
}
