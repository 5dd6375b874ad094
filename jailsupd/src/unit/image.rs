//! `[image]`: what a jail's root is made from.

use std::fmt;

use super::path::HostPath;
use super::value::{Fault, FromText, Kind, plain, quoted, shown};

/// Where an image is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageSource {
    /// A file or directory of the host: `erofs:/path`, `squashfs:/path`, `tar:/path` or `dir:/path`.
    Path {
        /// What the path holds.
        kind: ImageKind,
        /// The file or directory.
        path: HostPath,
    },
    /// What `jailctl image import` has brought in, by its name, its digest or both: `image:NAME:TAG`.
    Stored {
        /// Its name.
        name: Option<ImageName>,
        /// Its digest; of a name too, whatever that means by now.
        digest: Option<Digest>,
    },
}

/// What an image's path holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageKind {
    /// A file with an erofs file system.
    Erofs,
    /// A file with a squashfs file system.
    Squashfs,
    /// A tar archive, plain or packed.
    Tar,
    /// A directory tree, its ids counted from 0.
    Directory,
}

impl ImageKind {
    /// The scheme in front of the path.
    pub const fn scheme(self) -> &'static str {
        match self {
            Self::Erofs => "erofs",
            Self::Squashfs => "squashfs",
            Self::Tar => "tar",
            Self::Directory => "dir",
        }
    }
}

impl fmt::Display for ImageSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path { kind, path } => write!(f, "{}:{path}", kind.scheme()),
            Self::Stored { name: Some(name), digest: None } => write!(f, "image:{name}"),
            Self::Stored { name: Some(name), digest: Some(digest) } => {
                write!(f, "image:{name} of {digest}")
            }
            Self::Stored { name: None, digest: Some(digest) } => digest.fmt(f),
            Self::Stored { name: None, digest: None } => f.write_str("image:"),
        }
    }
}

impl FromText for ImageSource {
    const KIND: Kind = Kind::text("image", "^(erofs|squashfs|tar|dir):/|^image:");

    fn from_text(text: &str) -> Result<Self, Fault> {
        let help = "write \"image:NAME\", \"erofs:/path/to/image.erofs\", \"squashfs:/path\", \"tar:/path\" or \"dir:/path/to/tree\"";
        let (scheme, path) = match text.split_once(':') {
            Some((scheme, path)) => (scheme, path),
            None if text.starts_with('/') => {
                let end = |kind: &&str| text.strip_suffix(*kind).is_some_and(|s| s.ends_with('.'));
                let kind = ["erofs", "squashfs", "tar"].into_iter().find(end).unwrap_or("dir");
                return Err(Fault::new(format!(
                    "the image {} does not say what it is",
                    shown(text)
                ))
                .help(format!("write {}", quoted(&format!("{kind}:{}", plain(text))))));
            }
            None => {
                return Err(Fault::new(format!("{} is not an image", shown(text))).help(help));
            }
        };
        let kind = match scheme {
            "image" => {
                return Ok(Self::Stored { name: Some(ImageName::from_text(path)?), digest: None });
            }
            "erofs" => ImageKind::Erofs,
            "squashfs" => ImageKind::Squashfs,
            "tar" => ImageKind::Tar,
            "dir" => ImageKind::Directory,
            "oci" | "docker" | "deb" | "iso" => {
                return Err(Fault::new(format!(
                    "images of the kind `{scheme}:` are not supported yet"
                ))
                .help(help));
            }
            _ => {
                return Err(
                    Fault::new(format!("`{}:` is not a kind of image", plain(scheme))).help(help)
                );
            }
        };
        let path = HostPath::new(path)?;
        if path.as_str() == "/" {
            return Err(Fault::new("the image is the host's own root").help(
                "a jail never gets the host's files; give the directory of a tree made for it",
            ));
        }
        Ok(Self::Path { kind, path })
    }
}

/// The name of an imported image: `NAME:TAG`. Without a tag it is `latest`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImageName {
    name: String,
    tag: String,
}

impl ImageName {
    /// What is before the colon.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is behind it.
    pub fn tag(&self) -> &str {
        &self.tag
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.tag)
    }
}

impl FromText for ImageName {
    const KIND: Kind = Kind::text("image name", "^[a-z0-9]");

    fn from_text(text: &str) -> Result<Self, Fault> {
        let (name, tag) = text.split_once(':').unwrap_or((text, "latest"));
        let lower = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let is_name = |part: &str, plain: &dyn Fn(char) -> bool| {
            part.chars().next().is_some_and(plain)
                && part.chars().all(|c| plain(c) || matches!(c, '.' | '_' | '-'))
                && part.len() <= 63
        };
        let any = |c: char| c.is_ascii_alphanumeric();
        if is_name(name, &lower) && is_name(tag, &any) {
            return Ok(Self { name: name.to_owned(), tag: tag.to_owned() });
        }
        Err(Fault::new(format!("{} is not the name of an image", shown(text))).help(
            "write NAME or NAME:TAG: `a-z`, `0-9`, `.`, `_` and `-`, at most 63 characters each, the first a letter or a digit; a tag may have `A-Z`, too",
        ))
    }
}

/// The SHA-256 of an image's file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest(String);

impl Digest {
    /// The 64 hexadecimal digits.
    pub fn hex(&self) -> &str {
        &self.0
    }

    /// Of its digits.
    pub fn from_hex(hex: &str) -> Option<Self> {
        let is_digit = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        (hex.len() == 64 && hex.chars().all(is_digit)).then(|| Self(hex.to_owned()))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.0)
    }
}

impl FromText for Digest {
    const KIND: Kind = Kind::text("digest", "^sha256:[0-9a-f]{64}$");

    fn from_text(text: &str) -> Result<Self, Fault> {
        text.strip_prefix("sha256:").and_then(Self::from_hex).ok_or_else(|| {
            Fault::new(format!("{} is not a digest", shown(text))).help(
                "write \"sha256:\" and 64 digits of 0-9 and a-f, as `jailctl image inspect` shows them",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_with_and_without_tag_and_nothing_else_is_one() {
        let name = |text: &str| ImageName::from_text(text).map(|name| name.to_string()).ok();
        assert_eq!(name("web").as_deref(), Some("web:latest"));
        assert_eq!(name("web-2.x:V1.0_b").as_deref(), Some("web-2.x:V1.0_b"));
        for text in
            ["", ":", "web:", ":tag", "Web", "../x", "a/b", "a:b:c", ".web", "web:-x", "w b"]
        {
            assert_eq!(name(text), None, "{text}");
        }
        assert_eq!(name(&"n".repeat(64)), None);
    }

    #[test]
    fn a_digest_is_64_digits() {
        let text = format!("sha256:{}", "0f".repeat(32));
        assert_eq!(Digest::from_text(&text).unwrap().to_string(), text);
        for text in ["sha256:", "0f", &format!("sha256:{}", "0F".repeat(32))] {
            assert!(Digest::from_text(text).is_err(), "{text}");
        }
    }
}
