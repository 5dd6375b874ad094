//! What a person expects of unit files, as small as can be.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use qemu_tests::random::Random;

const NAMES: usize = 12;
/// `pids_max` of the drop-in that changes a running jail.
const PART_LIMIT: u64 = 33;

/// `NAME.toml`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum File {
    /// With a limit of processes.
    Good(u64),
    Broken,
    Mask,
}

/// `NAME.toml.d/50.toml`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Limit,
    Off,
    Broken,
}

/// What the files of a name ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    /// There is no unit: none, masked, or only a drop-in.
    Absent,
    /// The last good version stays in force.
    Broken,
    On,
    /// Disabled.
    Off,
}

#[derive(Debug, Default)]
struct Name {
    file: Option<File>,
    part: Option<Part>,
    /// As it was when last compared.
    ran: bool,
    /// What was asked for since then, one after the other; jailsupd may have seen each, or not.
    wishes: Vec<Wish>,
}

impl Name {
    fn wish(&self) -> Wish {
        match (self.file, self.part) {
            (None | Some(File::Mask), _) => Wish::Absent,
            (Some(File::Broken), _) | (_, Some(Part::Broken)) => Wish::Broken,
            (_, Some(Part::Off)) => Wish::Off,
            _ => Wish::On,
        }
    }

    /// Whether it runs now; `None` when that depends on which versions jailsupd has seen.
    fn runs(&self) -> Option<bool> {
        let had = |wish| self.wishes.contains(&wish);
        match self.wish() {
            Wish::Absent | Wish::Off => Some(false),
            Wish::On => Some(true),
            Wish::Broken if self.wishes.len() == 1 => Some(self.ran),
            Wish::Broken if self.ran => (!had(Wish::Absent) && !had(Wish::Off)).then_some(true),
            Wish::Broken => (!had(Wish::On)).then_some(false),
        }
    }

    fn limit(&self) -> Option<u64> {
        match (self.file, self.part) {
            (Some(File::Good(_)), Some(Part::Limit)) => Some(PART_LIMIT),
            (Some(File::Good(limit)), None) => Some(limit),
            _ => None,
        }
    }
}

/// All names.
#[derive(Debug, Default)]
pub(crate) struct Model {
    names: [Name; NAMES],
}

impl Model {
    /// Makes up operations, does them to the model, and gives the script that does them to the guest.
    pub(crate) fn burst(&mut self, random: &mut Random, count: usize, killed: bool) -> String {
        for name in &mut self.names {
            name.wishes = vec![name.wish()];
        }
        let kill_at = random.below(u64::try_from(count).unwrap_or(1));
        let mut script = String::new();
        for number in 0..count {
            script += &self.operation(random);
            script.push('\n');
            if killed && u64::try_from(number) == Ok(kill_at) {
                script += "kill -KILL $(pidof jailsupd)\n";
            }
            // Without it a burst is mostly seen as a whole.
            if random.below(8) == 0 {
                script += "/usr/bin/jailctl apply --no-wait >/dev/null 2>&1\n";
            }
        }
        script + "true\n"
    }

    fn operation(&mut self, random: &mut Random) -> String {
        let index = usize::try_from(random.below(NAMES as u64)).unwrap_or(0);
        let other = usize::try_from(random.below(NAMES as u64)).unwrap_or(0);
        let (file, part) = (format!("j{index}.toml"), format!("j{index}.toml.d"));
        let name = &mut self.names[index];
        let mut script = String::new();
        match random.below(16) {
            0..=6 => {
                let (environment, limit) = (random.below(3), 40 + random.below(3));
                name.file = Some(File::Good(limit));
                script = write(random, &format!("good {environment} {limit}"), &file);
            }
            7 => {
                name.file = Some(File::Broken);
                script = write(random, "echo 'version = '", &file);
            }
            8 | 9 => {
                name.file = None;
                write!(script, "rm -f {file}").unwrap_or_default();
            }
            10 => {
                name.file = Some(File::Mask);
                write!(script, "ln -sf /dev/null {file}").unwrap_or_default();
            }
            11 if name.file.is_some() && index != other => {
                self.names[other].file = self.names[index].file.take();
                self.note(other);
                write!(script, "mv {file} j{other}.toml").unwrap_or_default();
            }
            kind @ 11..=13 => {
                let (part_is, text) = match kind {
                    11 => (Part::Broken, "nonsense = 1".to_owned()),
                    12 => (Part::Off, "enabled = false".to_owned()),
                    _ => (Part::Limit, format!("resources.pids_max = {PART_LIMIT}")),
                };
                name.part = Some(part_is);
                script = format!("mkdir -p {part}; echo '{text}' >{part}/50.toml");
            }
            _ => {
                name.part = None;
                write!(script, "rm -rf {part}").unwrap_or_default();
            }
        }
        self.note(index);
        script
    }

    fn note(&mut self, index: usize) {
        let name = &mut self.names[index];
        name.wishes.push(name.wish());
    }

    /// All that is not in the files is forgotten.
    pub(crate) fn rebooted(&mut self) {
        for name in &mut self.names {
            name.ran = name.wish() == Wish::On;
            name.wishes = vec![name.wish()];
        }
    }

    /// Takes over what runs, where the files leave that open; says what they do not.
    pub(crate) fn compare(
        &mut self,
        running: &BTreeSet<String>,
        limits: &BTreeMap<String, String>,
    ) -> Result<(), String> {
        let mut wrong = String::new();
        for (index, name) in self.names.iter_mut().enumerate() {
            let jail = format!("j{index}");
            let runs = running.contains(&jail);
            if name.runs().is_some_and(|wanted| wanted != runs) {
                let verb = if runs { "runs" } else { "does not run" };
                writeln!(wrong, "{jail} {verb}: {name:?}").unwrap_or_default();
            }
            let limit = name.limit().map(|limit| limit.to_string());
            let has = limits.get(&jail);
            if runs && limit.is_some() && limit.as_ref() != has {
                writeln!(wrong, "{jail} has the limit {has:?}: {name:?}").unwrap_or_default();
            }
            name.ran = runs;
        }
        let known = |jail: &&String| (0..NAMES).any(|index| **jail == format!("j{index}"));
        if let Some(jail) = running.iter().find(|jail| !known(jail)) {
            writeln!(wrong, "{jail} runs").unwrap_or_default();
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }
}

/// In place, renamed over, or renamed over with a time long past. A mask is not written through.
fn write(random: &mut Random, text: &str, file: &str) -> String {
    let new = format!("{text} >.new");
    match random.below(3) {
        0 => format!("[ ! -L {file} ] || rm {file}; {text} >{file}"),
        1 => format!("{new}; mv .new {file}"),
        _ => format!("{new}; touch -t 200001010000 .new; mv .new {file}"),
    }
}
