//! The units and the host.toml that this tree ships are good.

#![allow(clippy::unwrap_used)] // test helpers: a panic is the report

use std::fs;
use std::path::{Path, PathBuf};

use jailsupd::unit::{self, host, layer};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn each_example_unit_is_good() {
    let mut count = 0;
    for entry in fs::read_dir(root().join("examples")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "toml") {
            let stem = path.file_stem().unwrap().to_str().unwrap();
            let text = fs::read_to_string(&path).unwrap();
            let problems = unit::parse(stem, &path.to_string_lossy(), &text).err();
            assert!(problems.is_none(), "{problems:?}");
            count += 1;
        }
    }
    assert!(count > 0, "no example unit");
}

#[test]
fn the_images_host_toml_is_good() {
    let file = "image/root/usr/lib/warder/host.toml";
    let text = fs::read_to_string(root().join(file)).unwrap();
    let problems = host::parse(&[layer::Layer { file, text: &text }]).err();
    assert!(problems.is_none(), "{problems:?}");
}

#[test]
fn the_unit_in_the_readme_is_good() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let text = readme.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let problems = unit::parse("readme", "README.md", text).err();
    assert!(problems.is_none(), "{problems:?}");
}
