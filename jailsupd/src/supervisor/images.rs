//! The store of images over the control socket.

use super::Supervisor;
use super::jail::Jail;
use super::poller::Source;
use super::unknown::invalid_value;
use crate::control::server::ClientId;
use crate::control::wire::{
    Image, ImageImported, ImageInspected, ImageRemoved, ImageTagged, ImagesCollected, ImagesListed,
    Reply, WireError,
};
use crate::exec::store::{Object, Store};
use crate::exec::worker::{Said, Worker};
use crate::exec::{image, import, subvolume};
use crate::unit::value::{Fault, FromText as _, quoted};
use crate::unit::{Digest, ImageName, ImageSource, Unit};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// At once; each of them reads and writes as fast as the disk can.
const IMPORTS_MAX: usize = 4;

/// The least that is taken for a digest: its kind, and as many digits as tables show.
const SHORTEST: usize = "sha256:".len() + 12;

/// An import on its way.
#[derive(Debug)]
struct Import {
    number: u32,
    client: ClientId,
    worker: Worker,
    path: String,
}

/// All imports that clients have asked for.
#[derive(Debug, Default)]
pub(super) struct Imports {
    under_way: Vec<Import>,
    /// The number of the last one.
    last: u32,
}

/// What an image is called by.
enum Reference {
    Name(ImageName),
    Digest,
}

/// The jails that use an image.
type Users = BTreeMap<Digest, Vec<String>>;

fn not_possible(name: &str, reason: impl Into<String>) -> Reply {
    Reply::refusal(&WireError::NotPossible { name: name.to_owned(), reason: reason.into() })
}

fn failed(name: &str, what: &str, error: &io::Error) -> Reply {
    not_possible(name, format!("{what}: {error}"))
}

impl Supervisor {
    pub(super) fn image_store(&self) -> Store {
        Store::of(&self.layout)
    }

    /// At start: the disk counts for whom, and nothing is left of imports that an earlier jailsupd had begun.
    pub(super) fn tidy_storage(&self) {
        subvolume::enable_quotas(&self.layout.data);
        if let Err(error) = self.image_store().clean() {
            log::warn!("what unfinished imports have left stays: {error}");
        }
    }

    /// Begins an import; its client is told how far it is, and at last what came of it.
    pub(super) fn import_image(&mut self, client: ClientId, path: &str, name: Option<&str>) {
        if let Err(reply) = self.begin_import(client, path, name) {
            self.reply(client, &reply);
        }
    }

    fn begin_import(
        &mut self,
        client: ClientId,
        path: &str,
        name: Option<&str>,
    ) -> Result<(), Reply> {
        let invalid = |parameter: &str, fault| Reply::refusal(&invalid_value(parameter, fault));
        let name = name.map(ImageName::from_text).transpose();
        let name = name.map_err(|fault| invalid("name", fault))?;
        if !path.starts_with('/') {
            let fault = Fault::new(format!("the path {} is not absolute", quoted(path)));
            return Err(invalid("path", fault));
        }
        if self.imports.under_way.len() >= IMPORTS_MAX {
            return Err(not_possible(
                path,
                "others are being imported: try again when one is done",
            ));
        }
        let ids = self.reader_ids().map_err(|error| not_possible(path, error.chain()))?;
        let (path_of, name, archive, kind) = (Path::new(path), name.as_ref(), None, None);
        let request = import::Request { path: path_of, name, archive, kind, ids };
        let worker = import::start(&request, &self.layout)
            .map_err(|error| not_possible(path, error.chain()))?;
        self.imports.last = self.imports.last.wrapping_add(1);
        let number = self.imports.last;
        self.poller
            .watch(&worker.report, Source::Import(number))
            .map_err(|error| failed(path, "its import cannot be watched", &error))?;
        self.imports.under_way.push(Import { number, client, worker, path: path.to_owned() });
        Ok(())
    }

    /// An import has said something.
    pub(super) fn on_import(&mut self, number: u32) {
        let Some(at) = self.imports.under_way.iter().position(|import| import.number == number)
        else {
            return;
        };
        let said = self.imports.under_way[at].worker.read();
        let client = self.imports.under_way[at].client;
        match said {
            Said::Nothing => {}
            Said::Progress(done, total) => {
                let progress = ImageImported { done: Some(done), total, image: None };
                // One that does not read is told later, or never.
                if !self.server.is_behind(client) {
                    self.reply(client, &Reply::with(&progress).continued());
                    self.want_output(client);
                }
            }
            Said::Done(digest) => {
                let import = self.imports.under_way.remove(at);
                self.poller.forget(&import.worker.report);
                log::info!("image={digest} imported from {}", import.path);
                let image = Digest::from_text(&digest).ok();
                let image = image.and_then(|digest| self.shown_image(&digest));
                self.answer_import(
                    client,
                    &Reply::with(&ImageImported { image, ..Default::default() }),
                );
            }
            Said::Failed(failure) => {
                let import = self.imports.under_way.remove(at);
                self.poller.forget(&import.worker.report);
                let reason = format!("cannot {}", failure.text());
                self.answer_import(client, &not_possible(&import.path, reason));
            }
        }
    }

    fn answer_import(&mut self, client: ClientId, reply: &Reply) {
        if self.server.socket(client).is_some() {
            self.reply(client, reply);
            self.answer_calls(client);
        }
    }

    /// Whom nobody waits for any more.
    pub(super) fn stop_imports_of(&self, client: ClientId) {
        let of_client = self.imports.under_way.iter().filter(|import| import.client == client);
        of_client.for_each(|import| import.worker.kill());
    }

    pub(super) fn is_importing(&self, client: ClientId) -> bool {
        self.imports.under_way.iter().any(|import| import.client == client)
    }

    pub(super) fn list_images(&self) -> Reply {
        let users = self.image_users();
        let store = self.image_store();
        let listed = store.list().and_then(|objects| Ok((objects, store.all_names()?)));
        match listed {
            Ok((objects, names)) => {
                let images =
                    objects.into_iter().map(|object| shown(object, &names, &users)).collect();
                Reply::with(&ImagesListed { images })
            }
            Err(error) => failed("images", "the store cannot be read", &error),
        }
    }

    pub(super) fn inspect_image(&self, image: &str) -> Reply {
        let digest = self.find_image(image).map(|(_, digest)| digest);
        match digest.and_then(|digest| self.shown_image(&digest)) {
            Some(image) => Reply::with(&ImageInspected { image }),
            None => Reply::refusal(&self.no_such_image(image)),
        }
    }

    fn shown_image(&self, digest: &Digest) -> Option<Image> {
        let store = self.image_store();
        let names = store.all_names().unwrap_or_default();
        Some(shown(store.find(digest)?, &names, &self.image_users()))
    }

    fn find_image(&self, image: &str) -> Option<(Reference, Digest)> {
        let store = self.image_store();
        if let Ok(digest) = Digest::from_text(image) {
            store.find(&digest)?;
            return Some((Reference::Digest, digest));
        }
        let name = ImageName::from_text(image).ok();
        if let Some((name, digest)) =
            name.and_then(|name| Some((name.clone(), store.named(&name)?)))
        {
            return Some((Reference::Name(name), digest));
        }
        let all = store.list().unwrap_or_default();
        let mut alike = all.into_iter().filter(|object| is_short_for(image, &object.digest));
        let only = alike.next().filter(|_| alike.next().is_none())?;
        Some((Reference::Digest, only.digest))
    }

    pub(super) fn tag_image(&mut self, image: &str, name: &str) -> Reply {
        let Some((_, digest)) = self.find_image(image) else {
            return Reply::refusal(&self.no_such_image(image));
        };
        let name = match ImageName::from_text(name) {
            Ok(name) => name,
            Err(fault) => return Reply::refusal(&invalid_value("name", fault)),
        };
        match self.image_store().set_name(&name, &digest) {
            Ok(()) => {
                Reply::with(&ImageTagged { name: name.to_string(), digest: digest.to_string() })
            }
            Err(error) => failed(image, "it cannot be named", &error),
        }
    }

    pub(super) fn remove_image(&mut self, image: &str) -> Reply {
        let Some((reference, digest)) = self.find_image(image) else {
            return Reply::refusal(&self.no_such_image(image));
        };
        let store = self.image_store();
        let names = store.all_names().unwrap_or_default();
        let mut own: Vec<ImageName> =
            names.into_iter().filter(|(_, of)| *of == digest).map(|(name, _)| name).collect();
        let users = self.image_users().remove(&digest).unwrap_or_default();
        // With another name left it stays, and so do those who use it by that or by its digest.
        let name = match &reference {
            Reference::Name(name) if own.len() > 1 => Some(name.clone()),
            _ => None,
        };
        let users = match &name {
            Some(name) => self.users_of_name(name),
            None => users,
        };
        if !users.is_empty() {
            let reason =
                format!("it is the image of {}: give them another first", users.join(", "));
            return not_possible(image, reason);
        }
        let mut removed = Vec::new();
        own.retain(|one| name.as_ref().is_none_or(|name| name == one));
        for name in own {
            if let Err(error) = store.remove_name(&name) {
                return failed(image, "its name cannot be removed", &error);
            }
            removed.push(name.to_string());
        }
        if name.is_none() {
            if let Err(error) = store.remove(&digest) {
                return failed(image, "it cannot be removed", &error);
            }
            log::info!("image={digest} removed");
            removed.push(digest.to_string());
            // What stays mounted takes its room until then.
            self.forget_images();
        }
        Reply::with(&ImageRemoved { removed })
    }

    /// Removes what has no name and is nobody's image.
    pub(super) fn collect_images(&mut self) -> Reply {
        let (store, users) = (self.image_store(), self.image_users());
        let listed = store.list().and_then(|objects| Ok((objects, store.all_names()?)));
        let (objects, names) = match listed {
            Ok(listed) => listed,
            Err(error) => return failed("images", "the store cannot be read", &error),
        };
        let is_needed = |digest: &Digest| {
            users.contains_key(digest) || names.iter().any(|(_, of)| of == digest)
        };
        let (mut removed, mut freed) = (Vec::new(), 0);
        for object in objects.into_iter().filter(|object| !is_needed(&object.digest)) {
            if let Err(error) = store.remove(&object.digest) {
                return failed(&object.digest.to_string(), "it cannot be removed", &error);
            }
            log::info!("image={} removed", object.digest);
            removed.push(object.digest.to_string());
            freed += object.size;
        }
        self.forget_images();
        Reply::with(&ImagesCollected { removed, freed })
    }

    /// By the units in force and those of the files, and by what runs.
    fn image_users(&self) -> Users {
        let mut users = Users::new();
        let mut add = |digest: Option<Digest>, jail: &str| {
            let Some(digest) = digest else { return };
            let of_image = users.entry(digest).or_default();
            if !of_image.iter().any(|other| other == jail) {
                of_image.push(jail.to_owned());
            }
        };
        for (_, jail) in self.jails.all() {
            let running = jail.life.as_ref().and_then(|life| life.stored.image.as_deref());
            add(running.and_then(|digest| Digest::from_text(digest).ok()), &jail.name);
        }
        for (digest, jail) in self.trials.images() {
            add(Some(digest), jail);
        }
        self.each_unit(|unit| {
            add(image::digest(&unit.image.source, &self.layout), unit.name.as_str());
        });
        users
    }

    /// The jails whose units say just this name.
    fn users_of_name(&self, name: &ImageName) -> Vec<String> {
        let mut users = Vec::new();
        self.each_unit(|unit| {
            let source = ImageSource::Stored { name: Some(name.clone()), digest: None };
            let jail = unit.name.to_string();
            if unit.image.source == source && !users.contains(&jail) {
                users.push(jail);
            }
        });
        users
    }

    /// Those in force, and those of the files.
    fn each_unit(&self, mut take: impl FnMut(&Unit)) {
        let in_force = |jail: &Jail| jail.loaded.as_ref().map(|loaded| loaded.unit.clone());
        self.jails.all().filter_map(|(_, jail)| in_force(jail)).for_each(|unit| take(&unit));
        let files = self.read_units(&[]);
        files.units.iter().filter_map(|found| found.result.as_ref().ok()).for_each(take);
    }
}

/// Whether it is the beginning of a digest, as a table shows it.
fn is_short_for(text: &str, digest: &Digest) -> bool {
    text.len() >= SHORTEST && digest.to_string().starts_with(text)
}

fn shown(object: Object, names: &[(ImageName, Digest)], users: &Users) -> Image {
    let own = names.iter().filter(|(_, digest)| *digest == object.digest);
    Image {
        names: own.map(|(name, _)| name.to_string()).collect(),
        jails: users.get(&object.digest).cloned().unwrap_or_default(),
        digest: object.digest.to_string(),
        kind: object.kind.scheme().to_owned(),
        size: object.size,
        created: object.created,
        origin: object.origin,
    }
}
