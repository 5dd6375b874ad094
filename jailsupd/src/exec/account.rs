//! Users and groups of an image: passwd(5) and group(5), read from the image itself.

use super::Error;
use super::walls::{self, Wall};
use crate::unit::UserSpec;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use std::io::Read as _;

/// Largest passwd or group file that is read.
const FILE_MAX: u64 = 1 << 20;

/// Whom the service runs as, in the jail's own numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Home directory.
    pub home: String,
}

/// Looks `user` and `group` up in the image behind `root`.
///
/// # Errors
/// When a name is not in the image, or the files cannot be read.
pub fn find(root: impl AsFd, user: &UserSpec, group: Option<&UserSpec>) -> Result<Account, Error> {
    look_up(root, ResolveFlags::empty(), user, group)
}

/// The same behind the root of a running jail, whose user may have put anything there: no other mount is
/// entered, as reading from some files of /proc has effects.
///
/// # Errors
/// As [`find`].
pub fn find_running(
    root: impl AsFd,
    user: &UserSpec,
    group: Option<&UserSpec>,
) -> Result<Account, Error> {
    look_up(root, ResolveFlags::NO_XDEV, user, group)
}

fn look_up(
    root: impl AsFd,
    resolve: ResolveFlags,
    user: &UserSpec,
    group: Option<&UserSpec>,
) -> Result<Account, Error> {
    let text = |file: &'static str| {
        read(&root, file.trim_start_matches('/'), resolve).map_err(|e| accounts(file, e))
    };
    self::resolve(&text("/etc/passwd")?, &text("/etc/group")?, user, group)
}

fn accounts(file: &'static str, source: std::io::Error) -> Error {
    Error::Accounts { file, source }
}

/// The file's text; empty when the image has none.
fn read(root: impl AsFd, path: &str, resolve: ResolveFlags) -> std::io::Result<String> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let resolve = if walls::is_down(Wall::ResolveInRoot) {
        ResolveFlags::empty()
    } else {
        resolve | ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS
    };
    let file: OwnedFd = match rustix::fs::openat2(root, path, flags, Mode::empty(), resolve) {
        Ok(file) => file,
        Err(rustix::io::Errno::NOENT) => return Ok(String::new()),
        Err(error) => return Err(error.into()),
    };
    let mut bytes = Vec::new();
    std::fs::File::from(file).take(FILE_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn resolve(
    passwd: &str,
    groups: &str,
    user: &UserSpec,
    group: Option<&UserSpec>,
) -> Result<Account, Error> {
    let entry = match user {
        UserSpec::Id(id) => fields(passwd).find(|f| number(f, 2) == Some(*id)),
        UserSpec::Name(name) => fields(passwd).find(|f| f.first() == Some(&name.as_str())),
    };
    let uid = match (user, &entry) {
        (UserSpec::Id(id), _) => *id,
        (UserSpec::Name(name), entry) => entry
            .as_ref()
            .and_then(|f| number(f, 2))
            .ok_or_else(|| Error::NoAccount { what: "user", name: name.clone() })?,
    };
    let gid = match group {
        Some(UserSpec::Id(id)) => *id,
        Some(UserSpec::Name(name)) => fields(groups)
            .find(|f| f.first() == Some(&name.as_str()))
            .and_then(|f| number(&f, 2))
            .ok_or_else(|| Error::NoAccount { what: "group", name: name.clone() })?,
        None => entry.as_ref().and_then(|f| number(f, 3)).unwrap_or(uid),
    };
    let name = entry.as_ref().and_then(|f| f.first().copied());
    let member = |f: &Vec<&str>| {
        f.get(3).is_some_and(|members| members.split(',').any(|member| Some(member) == name))
    };
    let supplementary = fields(groups).filter(member).filter_map(|f| number(&f, 2));
    let home = entry.as_ref().and_then(|f| f.get(5)).filter(|home| home.starts_with('/'));
    Ok(Account {
        uid,
        gid,
        groups: supplementary.filter(|other| *other != gid).collect(),
        home: home.map_or("/", |home| *home).to_owned(),
    })
}

fn fields(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().map(|line| line.split(':').collect())
}

/// An id that the jail's range has.
fn number(fields: &[&str], index: usize) -> Option<u32> {
    fields.get(index)?.parse().ok().filter(|id| *id <= UserSpec::MAX_ID)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33::/var/www:/no\nbig:x:70000:1::/:/\n";
    const GROUP: &str = "root:x:0:\nwww-data:x:33:\nssl-cert:x:110:www-data,root\n";

    fn name(text: &str) -> UserSpec {
        UserSpec::Name(text.into())
    }

    #[test]
    fn a_name_brings_its_group_groups_and_home() {
        let account = resolve(PASSWD, GROUP, &name("www-data"), None).unwrap();
        let expected = Account { uid: 33, gid: 33, groups: vec![110], home: "/var/www".into() };
        assert_eq!(account, expected);
    }

    #[test]
    fn a_number_needs_no_entry() {
        let account = resolve("", "", &UserSpec::Id(1000), None).unwrap();
        assert_eq!((account.uid, account.gid, account.home.as_str()), (1000, 1000, "/"));
    }

    #[test]
    fn a_given_group_wins() {
        let account = resolve(PASSWD, GROUP, &name("www-data"), Some(&name("ssl-cert"))).unwrap();
        assert_eq!((account.gid, account.groups), (110, vec![]));
    }

    #[test]
    fn unknown_names_and_ids_outside_the_range_are_refused() {
        for (user, group) in
            [(name("nobody"), None), (name("big"), None), (UserSpec::Id(0), Some(name("x")))]
        {
            assert!(resolve(PASSWD, GROUP, &user, group.as_ref()).is_err());
        }
    }
}
