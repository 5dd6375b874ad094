//! Images that the kernel's own tools read.

use super::*;
use std::io::Cursor;
use std::process::Command;

fn meta(mode: u16) -> Meta {
    Meta { mode, uid: 7, gid: 8, mtime: 1_000_000_000 }
}

fn sample() -> Vec<u8> {
    let mut builder = Builder::new(Cursor::new(Vec::new()), 1 << 30).unwrap();
    let bin = builder.directory(ROOT, b"bin", meta(0o755)).unwrap();
    let tool = builder.file(bin, b"tool", meta(0o4755), &mut &[b'x'; 5000][..]).unwrap();
    builder.hard_link(ROOT, b"same", tool).unwrap();
    builder.link(ROOT, b"short", meta(0), b"bin/tool").unwrap();
    builder.link(ROOT, b"long", meta(0), &[b'l'; 4095]).unwrap();
    builder.fifo(ROOT, b"fifo", meta(0o600)).unwrap();
    builder.file(ROOT, b"empty", meta(0o644), &mut &b""[..]).unwrap();
    let many = builder.directory(ROOT, b"many", meta(0o700)).unwrap();
    for number in 0..1000 {
        let name = format!("{number}-{}", "n".repeat(number % 200));
        builder.file(many, name.as_bytes(), meta(0o644), &mut name.as_bytes()).unwrap();
    }
    builder.finish().unwrap().into_inner()
}

#[test]
fn the_same_tree_makes_the_same_bytes() {
    assert!(sample() == sample());
}

#[test]
fn the_checker_of_erofs_utils_reads_every_file() {
    let root = tempfile::tempdir().unwrap();
    let (image, out) = (root.path().join("image"), root.path().join("out"));
    std::fs::write(&image, sample()).unwrap();

    let extract = format!("--extract={}", out.display());
    // erofs-utils is there wherever an image can be built: `make setup`.
    let checked = Command::new("fsck.erofs").arg(extract).arg(&image).output().unwrap();

    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    assert_eq!(std::fs::read(out.join("same")).unwrap(), [b'x'; 5000]);
    assert_eq!(std::fs::read_link(out.join("short")).unwrap().to_str(), Some("bin/tool"));
    assert_eq!(std::fs::read_dir(out.join("many")).unwrap().count(), 1000);
    let name = format!("{}-{}", 777, "n".repeat(777 % 200));
    assert_eq!(std::fs::read_to_string(out.join("many").join(&name)).unwrap(), name);
}

#[test]
fn what_is_no_tree_is_refused() {
    let mut builder = Builder::new(Cursor::new(Vec::new()), 1 << 20).unwrap();
    let file = builder.file(ROOT, b"file", meta(0o644), &mut &b"x"[..]).unwrap();
    for name in [&b"a/b"[..], b"", b".", b"..", b"a\0b", &[b'n'; 256]] {
        assert!(builder.directory(ROOT, name, meta(0)).is_err(), "{name:?}");
    }
    assert!(builder.directory(ROOT, b"file", meta(0)).is_err(), "twice");
    assert!(builder.directory(file, b"below", meta(0)).is_err(), "in a file");
    assert!(builder.hard_link(ROOT, b"root", ROOT).is_err(), "a directory with two names");
    assert!(builder.link(ROOT, b"link", meta(0), &[b'x'; 5000]).is_err());
    let mut endless = io::repeat(0);
    assert!(matches!(
        builder.file(ROOT, b"bomb", meta(0o644), &mut endless),
        Err(Error::Refused("the image is larger than is allowed"))
    ));
}
