//! Files of the host's configuration that lie over each other: of `host.toml` and of `policy.toml` there is one
//! in each place that the host looks at.

use std::collections::BTreeMap;

use super::document::{Grammar, Walk};
use super::{Origin, Problem};

/// One file of the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Layer<'a> {
    /// Its path, for messages.
    pub file: &'a str,
    /// Its text.
    pub text: &'a str,
}

impl<D> Grammar<D> {
    /// Reads the layers into `draft`, lowest first; a key in a later one replaces the same key of an earlier one.
    /// After each layer `check` sees what it and those below it say together.
    ///
    /// # Errors
    /// Every problem of every layer.
    pub(super) fn read_layers(
        &self,
        layers: &[Layer<'_>],
        draft: &mut D,
        check: impl Fn(&mut Walk<'_>, &D),
    ) -> Result<Origin, Vec<Problem>> {
        let mut places = BTreeMap::new();
        let mut problems = Vec::new();
        for layer in layers {
            let mut walk = self.walk(layer.file, layer.text, draft);
            self.require(&mut walk);
            check(&mut walk, draft);
            match walk.finish() {
                Ok(found) => places.extend(found),
                Err(found) => problems.extend(found),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let file = layers.last().map_or("", |layer| layer.file).to_owned();
        Ok(Origin { file, places })
    }
}

impl Origin {
    /// Of what holds without any file.
    pub(super) fn none() -> Self {
        Self { file: String::new(), places: BTreeMap::new() }
    }
}
