//! `jailctl edit`, with small programs for editors.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use jailsupd::control::wire::Request;

use super::commands::{asked, name, refused};
use super::peer::{asking, jailctl};
use crate::output::complaint;

/// A program that does this to the file it is given.
fn editor(directory: &std::path::Path, script: &str) -> String {
    let path = directory.join("editor");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

#[test]
fn an_edited_unit_is_put_in_the_place_of_the_one_that_was_read() {
    let directory = tempfile::tempdir().unwrap();
    let editor = editor(directory.path(), "echo '# more' >>\"$1\"");
    let (done, _, asked) = asking(&["edit", "web", "--editor", &editor]);
    assert!(done.unwrap().starts_with("web: written; it is starting now\n"));
    let text = "version = 1\t# one\n# more\n".to_owned();
    let expect_hash = Some("5f".to_owned());
    assert_eq!(asked[1..], [Request::Put { stem: name(), text, expect_hash }]);
}

#[test]
fn a_new_unit_is_begun_for_the_user() {
    let directory = tempfile::tempdir().unwrap();
    let editor = editor(directory.path(), "sed -i s/192.0.2.10/192.0.2.77/ \"$1\"");
    let (done, _, asked) = asking(&["edit", "fresh", "--editor", &editor]);
    done.unwrap();
    let Request::Put { stem, text, expect_hash } = &asked[1] else { panic!("{asked:?}") };
    assert_eq!((stem.as_str(), expect_hash.as_deref()), ("fresh", Some("")));
    assert!(text.contains("jails/fresh.erofs") && text.contains("192.0.2.77"), "{text}");
}

#[test]
fn an_edit_without_a_change_asks_for_nothing() {
    let (done, _, asked) = asking(&["edit", "web", "--editor", "true"]);
    assert_eq!(done.unwrap(), "web: nothing was changed\n");
    assert_eq!(asked, [Request::Cat { name: name() }]);
    let (code, text) = refused(&["edit", "web", "--editor", "false"]);
    assert_eq!(code, 1);
    assert_eq!(text, "jailctl: the editor `false` failed; nothing was changed\n");
}

#[test]
fn a_text_that_is_refused_is_not_lost() {
    let directory = tempfile::tempdir().unwrap();
    for (word, code) in [("bad", 6), ("late", 1)] {
        let editor = editor(directory.path(), &format!("echo '# {word}' >>\"$1\""));
        let error = jailctl(&["edit", "web", "--editor", &editor]).unwrap_err();
        assert_eq!(error.code(), code);
        let text = complaint(&error);
        let draft = text.split("your text is in ").nth(1).unwrap().split(':').next().unwrap();
        assert!(fs::read_to_string(draft).unwrap().ends_with(&format!("# {word}\n")), "{text}");
        assert_eq!(text.contains(" --> web.toml:7:1"), word == "bad", "{text}");
        assert_eq!(text.contains("edit web --file"), word == "bad", "{text}");
        fs::remove_file(draft).unwrap();
    }
}

#[test]
fn without_an_editor_the_way_around_it_is_told() {
    let (code, text) = refused(&["edit", "web", "--editor", "/nowhere/vi"]);
    assert_eq!(code, 1);
    assert_eq!(
        text,
        "jailctl: there is no editor `/nowhere/vi` on this host\n  help: name another with --editor or \
         $EDITOR; without one, write the file elsewhere, then `jailctl edit web --file FILE`, or \
         `jailctl edit web --file - < FILE`\n"
    );
}

#[test]
fn a_file_is_put_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("anything").display().to_string();
    fs::write(&path, "version = 1\n").unwrap();
    let text = "version = 1\n".to_owned();
    let put = [Request::Put { stem: name(), text, expect_hash: None }];
    assert_eq!(asked(&["edit", "web", "--file", &path]), put);
    fs::write(&path, "bad").unwrap();
    let (code, text) = refused(&["edit", "web", "--file", &path]);
    assert_eq!(code, 6);
    assert!(text.starts_with("jailctl: the unit has a problem\n\nerror in `resources"), "{text}");
}
