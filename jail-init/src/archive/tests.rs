//! Streams that come back as they were, and streams that nobody should have sent.

use super::*;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

fn packed(path: &Path) -> (Vec<u8>, Vec<String>) {
    let (mut stream, mut problems) = (Vec::new(), Vec::new());
    let whole = pack(path, &mut stream, &mut |text| problems.push(text)).unwrap();
    assert_eq!(whole, problems.is_empty());
    (stream, problems)
}

fn unpacked(stream: &[u8], path: &Path, links: Links) -> io::Result<Vec<String>> {
    let mut problems = Vec::new();
    let mut rest = stream;
    let name = OsStr::new("copy");
    let whole = unpack(&mut rest, path, name, links, &mut |text| problems.push(text))?;
    assert_eq!(whole, problems.is_empty());
    Ok(problems)
}

fn stream(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = Vec::new();
    entries.iter().for_each(|entry| entry.write(&mut bytes).unwrap());
    bytes
}

fn directory(name: &str) -> Entry {
    Entry::Directory { name: name.into(), mode: 0o755, time: Time::default() }
}

fn file(name: &str, size: u64) -> Entry {
    Entry::File { name: name.into(), mode: 0o644, time: Time::default(), size }
}

fn link(name: &str, target: &str) -> Entry {
    Entry::Link { name: name.into(), target: target.into() }
}

#[test]
fn a_tree_comes_back_with_its_modes_times_and_links() {
    let place = tempfile::tempdir().unwrap();
    let tree = place.path().join("tree");
    fs::create_dir_all(tree.join("a/b")).unwrap();
    fs::write(tree.join("a/b/text"), "hello").unwrap();
    fs::write(tree.join("a/empty"), "").unwrap();
    fs::write(tree.join("program"), vec![7; 200_000]).unwrap();
    fs::set_permissions(tree.join("program"), fs::Permissions::from_mode(0o4751)).unwrap();
    fs::set_permissions(tree.join("a/b"), fs::Permissions::from_mode(0o500)).unwrap();
    symlink("a/b/text", tree.join("link")).unwrap();

    let (stream, problems) = packed(&tree);
    assert!(problems.is_empty(), "{problems:?}");
    assert!(unpacked(&stream, place.path(), Links::Inside).unwrap().is_empty());

    let copy = place.path().join("copy");
    assert_eq!(fs::read_to_string(copy.join("link")).unwrap(), "hello");
    assert_eq!(fs::read(copy.join("program")).unwrap(), vec![7; 200_000]);
    let of = |path: &str| fs::metadata(copy.join(path)).unwrap();
    assert_eq!(of("program").mode() & 0o7777, 0o751, "set-user-id does not travel");
    assert_eq!(of("a/b").mode() & 0o7777, 0o500);
    assert_eq!(of("a/b").mtime(), fs::metadata(tree.join("a/b")).unwrap().mtime());
    assert_eq!(
        of("a/b/text").mtime_nsec(),
        fs::metadata(tree.join("a/b/text")).unwrap().mtime_nsec()
    );
    assert_eq!(of("a/empty").len(), 0);
}

#[test]
fn a_file_goes_where_it_is_told_and_replaces_what_is_there() {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    fs::write(at("one"), "new").unwrap();
    fs::write(at("precious"), "old").unwrap();
    symlink("precious", at("two")).unwrap();
    fs::create_dir(at("dir")).unwrap();
    let (stream, _) = packed(&at("one"));

    unpacked(&stream, &at("two"), Links::Inside).unwrap();
    unpacked(&stream, &at("dir"), Links::Inside).unwrap();

    assert_eq!(fs::read_to_string(at("two")).unwrap(), "new");
    assert_eq!(fs::read_to_string(at("precious")).unwrap(), "old", "a link is not written through");
    assert_eq!(fs::read_to_string(at("dir/copy")).unwrap(), "new");
    let nowhere = unpacked(&stream, &at("no/where"), Links::Inside).unwrap_err();
    assert_eq!(nowhere.kind(), io::ErrorKind::NotFound);
}

#[test]
fn what_is_no_file_is_left_out_and_told() {
    let place = tempfile::tempdir().unwrap();
    let tree = place.path().join("tree");
    fs::create_dir(&tree).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        tree.join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(tree.join("socket")).unwrap();

    let (stream, problems) = packed(&tree);

    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(unpacked(&stream, &place.path().join("copy"), Links::All).unwrap().is_empty());
    assert_eq!(fs::read_dir(place.path().join("copy")).unwrap().count(), 0);
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    for name in ["..", ".", "", "/etc/passwd", "a/b", "a\0b"] {
        let place = tempfile::tempdir().unwrap();
        for entry in [directory(name), file(name, 0), link(name, "x")] {
            let bytes = stream(&[directory("top"), entry, Entry::Up, Entry::End]);
            let error = unpacked(&bytes, place.path(), Links::All).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{name:?}");
        }
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    }
}

#[test]
fn links_out_of_the_copy_are_left_out_on_a_host() {
    let place = tempfile::tempdir().unwrap();
    let bytes = stream(&[
        directory("top"),
        link("absolute", "/etc"),
        link("out", "../x"),
        link("out-by-a-way", "d/../../x"),
        link("in", "./d//"),
        directory("d"),
        link("up", "../in"),
        link("far", "../../x"),
        Entry::Up,
        Entry::Up,
        Entry::End,
    ]);

    let problems = unpacked(&bytes, place.path(), Links::Inside).unwrap();

    assert_eq!(problems.len(), 4, "{problems:?}");
    let mut made: Vec<_> =
        fs::read_dir(place.path().join("copy")).unwrap().map(|e| e.unwrap().file_name()).collect();
    made.sort();
    assert_eq!(made, ["d", "in"]);
    assert!(place.path().join("copy/d/up").symlink_metadata().unwrap().is_symlink());
    assert!(unpacked(&bytes, place.path(), Links::All).unwrap().is_empty());
}

#[test]
fn links_do_not_lead_out_of_the_copy_together_either() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("outside"), "precious").unwrap();
    let bytes = stream(&[
        directory("top"),
        directory("a"),
        directory("b"),
        // Inside, and higher up than its name looks.
        link("top", "../.."),
        Entry::Up,
        Entry::Up,
        link("out", "a/b/top/../outside"),
        Entry::Up,
        Entry::End,
    ]);

    let problems = unpacked(&bytes, place.path(), Links::Inside).unwrap();

    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(place.path().join("copy/a/b/top").symlink_metadata().unwrap().is_symlink());
    assert!(fs::read(place.path().join("copy/out")).is_err());
}

#[test]
fn a_link_that_the_stream_has_made_is_not_followed() {
    let place = tempfile::tempdir().unwrap();
    let outside = place.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let inside = place.path().join("inside");
    fs::create_dir(&inside).unwrap();
    let target = outside.to_str().unwrap();
    let bytes = stream(&[
        directory("top"),
        link("d", target),
        directory("d"),
        file("evil", 0),
        Entry::Up,
        Entry::Up,
        Entry::End,
    ]);

    let error = unpacked(&bytes, &inside, Links::All).unwrap_err();

    assert!(error.to_string().contains("copy/d"), "{error}");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    // As a file: the link itself is replaced.
    let bytes = stream(&[directory("top"), link("f", target), file("f", 0), Entry::Up, Entry::End]);
    unpacked(&bytes, &inside, Links::All).unwrap();
    assert!(inside.join("copy/f").symlink_metadata().unwrap().is_file());
}

#[test]
fn any_cut_and_any_flipped_byte_is_an_error_or_stays_inside() {
    let place = tempfile::tempdir().unwrap();
    let bytes = stream(&[directory("top"), file("f", 3)]);
    let whole = [bytes, b"abc".to_vec(), stream(&[link("l", "f"), Entry::Up, Entry::End])].concat();
    let inside = place.path().join("inside");
    for cut in 0..whole.len() {
        fs::create_dir(&inside).unwrap();
        let error = unpacked(&whole[..cut], &inside, Links::Inside).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{cut}");
        fs::remove_dir_all(&inside).unwrap();
    }
    for at in 0..whole.len() {
        for value in [0, 5, 47] {
            fs::create_dir(&inside).unwrap();
            let mut bytes = whole.clone();
            bytes[at] = value;
            let _ = unpacked(&bytes, &inside, Links::Inside);
            let made: Vec<_> =
                fs::read_dir(place.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
            assert_eq!(made, ["inside"], "{at} {value}");
            fs::remove_dir_all(&inside).unwrap();
        }
    }
}

#[test]
fn directories_without_end_are_an_error() {
    let place = tempfile::tempdir().unwrap();
    let bytes = stream(&vec![directory("d"); 1000]);
    let error = unpacked(&bytes, place.path(), Links::All).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
}
