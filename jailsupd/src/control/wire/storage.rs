//! What `org.warder.Storage` tells of images, volumes and persistent roots.

use serde::{Deserialize, Serialize};

/// A volume that units name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// When it was made, in milliseconds since 1970.
    pub created: u64,
    /// Bytes that it holds, where somebody counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<u64>,
    /// Bytes that it may hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_max: Option<u64>,
    /// The jails whose units name it.
    pub jails: Vec<String>,
    /// Where it is on the host.
    pub path: String,
}

/// Results of `ListVolumes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumesListed {
    /// By name.
    pub volumes: Vec<Volume>,
}

/// Results of `InspectVolume`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeInspected {
    /// The volume.
    pub volume: Volume,
}

/// The root of a persistent jail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// The jail's name.
    pub jail: String,
    /// What it was made from, in words.
    pub image: String,
    /// The image of the jail's unit is another by now.
    pub stale: bool,
    /// Bytes that it holds, where somebody counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<u64>,
    /// Bytes that it may hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_max: Option<u64>,
    /// Where it is on the host.
    pub path: String,
}

/// Results of `ListRoots`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootsListed {
    /// By the jails' names.
    pub roots: Vec<Root>,
}

/// Results of `RemoveRoot`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootRemoved {
    /// The jail's name.
    pub removed: String,
}

/// Results of `RemoveVolume`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeRemoved {
    /// Its name.
    pub removed: String,
}

/// An image of the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// `sha256:HEX` of its file.
    pub digest: String,
    /// `erofs` or `squashfs`.
    pub kind: String,
    /// Bytes.
    pub size: u64,
    /// When it was imported, in milliseconds since 1970.
    pub created: u64,
    /// What it was imported from.
    pub origin: String,
    /// `NAME:TAG` each.
    pub names: Vec<String>,
    /// The jails that use it.
    pub jails: Vec<String>,
}

/// Results of `ListImages`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImagesListed {
    /// By digest.
    pub images: Vec<Image>,
}

/// Results of `InspectImage`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageInspected {
    /// The image.
    pub image: Image,
}

/// Results of `ImportImage`: how far it is, or what came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageImported {
    /// Bytes that are read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<u64>,
    /// Bytes that there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// In the last reply only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
}

/// Results of `TagImage`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageTagged {
    /// `NAME:TAG`.
    pub name: String,
    /// What it means now.
    pub digest: String,
}

/// Results of `RemoveImage`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRemoved {
    /// Names, and digests of files.
    pub removed: Vec<String>,
}

/// Results of `CollectImages`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImagesCollected {
    /// Digests.
    pub removed: Vec<String>,
    /// Bytes.
    pub freed: u64,
}
