//! The jails, and what is done to them while jailsupd is killed: seeded, so that a run can be repeated.

use qemu_tests::{Vm, random::Random};

/// What happens to a jail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing: it must never end.
    Steady,
    /// It ends by itself, again and again.
    Mortal,
    /// Its unit is edited, sometimes so that it has to be restarted.
    Edited,
    /// Its unit is deleted and dropped again.
    Dropped,
    /// It is stopped, started and restarted by hand.
    Ordered,
}

/// A jail, and how often something was asked for that ends a life of it.
#[derive(Clone, Debug)]
pub(crate) struct Jail {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) asked: usize,
    edits: u32,
    present: bool,
}

/// How many of each kind.
const KINDS: [(Kind, &str, usize); 5] = [
    (Kind::Steady, "steady", 3),
    (Kind::Mortal, "mortal", 3),
    (Kind::Edited, "edited", 2),
    (Kind::Dropped, "dropped", 2),
    (Kind::Ordered, "ordered", 2),
];

impl Jail {
    pub(crate) fn all() -> Vec<Self> {
        let numbered = |(kind, word, count): (Kind, &str, usize)| {
            let name = |number| format!("{word}-{number}");
            let jail = |name| Self { name, kind, asked: 0, edits: 0, present: true };
            (0..count).map(name).map(jail).collect::<Vec<_>>()
        };
        KINDS.into_iter().flat_map(numbered).collect()
    }

    pub(crate) fn unit(&self) -> String {
        let kind = if self.kind == Kind::Mortal { "mortal" } else { "steady" };
        let (name, edits) = (&self.name, self.edits);
        // An edit that asks for a restart, and one that is taken over live.
        format!(
            "version = 1
[image]
source = \"erofs:/usr/share/jails/nuisance.erofs\"
[network]
mode = \"none\"
[process]
exec = [\"/bin/witness\", \"/record\", \"{kind}\"]
environment = {{ EDIT = \"{}\" }}
[resources]
pids_max = {}
[restart]
policy = \"always\"
delay = \"100ms\"
delay_max = \"500ms\"
[stop]
timeout = \"5m\"
[[volume]]
name = \"{name}\"
path = \"/record\"
",
            edits / 2,
            20 + edits % 2
        )
    }

    pub(crate) fn path(&self) -> String {
        format!("/etc/jails.d/{}.toml", self.name)
    }

    /// Its own record, as it is on the host.
    pub(crate) fn record(&self, vm: &mut Vm) -> String {
        vm.agent().read(&format!("/data/volumes/{}/data/record", self.name)).unwrap_or_default()
    }

    /// Puts the unit there, as a whole.
    pub(crate) fn drop_in(&mut self, vm: &mut Vm) {
        self.present = true;
        let draft = format!("/data/etc/{}.draft", self.name);
        vm.agent().write(&draft, &self.unit()).unwrap();
        vm.sh(&format!("mv {draft} {}", self.path()));
    }

    /// One random thing is done to it. Whoever is asked may be dead, or die of being asked: so what is
    /// ordered counts as what may have happened.
    pub(crate) fn disturb(&mut self, random: &mut Random, vm: &mut Vm) {
        match self.kind {
            Kind::Steady | Kind::Mortal => {}
            Kind::Edited => {
                self.edits += 1;
                self.asked += 1;
                self.drop_in(vm);
            }
            Kind::Dropped if self.present => {
                self.asked += 1;
                self.present = false;
                vm.sh(&format!("rm {}", self.path()));
            }
            Kind::Dropped => self.drop_in(vm),
            Kind::Ordered => {
                let order = ["stop", "start", "restart"][random.index(3)];
                self.asked += usize::from(order != "start");
                vm.sh(&format!("jailctl {order} {} --no-wait >/dev/null 2>&1; true", self.name));
            }
        }
    }
}
