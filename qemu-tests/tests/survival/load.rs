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
    /// Nothing, but that each end that is asked of this jail is one of its own, too.
    Dependent(&'static str),
    /// Nothing, but that it is ended whenever this jail ends.
    Bound(&'static str),
    /// The archive that is its image is overwritten, and sometimes it is restarted for that.
    Packed,
}

/// A jail, and how often something was asked for that ends a life of it.
#[derive(Clone, Debug)]
pub(crate) struct Jail {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) asked: usize,
    /// More of its unit: of its `[process]` first.
    rest: &'static [&'static str],
    edits: u32,
    present: bool,
}

/// How many of each kind, and what their units have beside what all have. What waits for checks or for "ready" waits long:
/// jailsupd may be dead most of the time.
const KINDS: [(Kind, &str, usize, &[&str]); 13] = [
    (Kind::Steady, "steady", 2, &[]),
    (Kind::Mortal, "mortal", 2, &[]),
    // Long enough for one that is bound to it to come up meanwhile.
    (Kind::Mortal, AGING, 1, &[]),
    (Kind::Edited, "edited", 2, &[]),
    (Kind::Dropped, "dropped", 2, &[]),
    (Kind::Ordered, "ordered", 1, &[]),
    (Kind::Ordered, "served", 1, &[READY]),
    (Kind::Steady, CHECKED, 1, &[HEALTHY, HEALTH]),
    // Its need goes and comes, and it can do without for a while.
    (
        Kind::Steady,
        "needy",
        1,
        &["[dependencies]\nrequires = [\"mortal-0\"]\nafter = [\"mortal-0\"]\n"],
    ),
    (
        Kind::Dependent(SERVED),
        "dependent",
        1,
        &[READY, "[dependencies]\nrequires = [\"served-0\"]\nafter = [\"served-0\"]\n"],
    ),
    (Kind::Bound("aging-0"), "bound", 1, &["[dependencies]\nbinds_to = [\"aging-0\"]\n"]),
    (Kind::Mortal, HOOKED, 2, &[READY, HOOKS]),
    (Kind::Packed, "packed", 1, &[]),
];

/// The one that another one requires.
pub(crate) const SERVED: &str = "served-0";
/// The beginnings of the names of those that live longer, of those whose health is checked, and of those with hooks.
const AGING: &str = "aging";
pub(crate) const CHECKED: &str = "checked";
pub(crate) const HOOKED: &str = "hooked";

const READY: &str = "notify = \"ready\"\n[start]\ntimeout = \"10m\"\n";
const HEALTHY: &str = "notify = \"healthy\"\n[start]\ntimeout = \"10m\"\n";
const HEALTH: &str = "[health]
exec = [\"/bin/witness\", \"/record\", \"check\"]
interval = \"500ms\"
timeout = \"1m\"
";
const HOOKS: &str = "[hooks]
start_container = [\"/bin/witness\", \"/record\", \"before\"]
start_container_timeout = \"10m\"
poststart = [\"/bin/witness\", \"/record\", \"beside\"]
poststop = [\"/bin/witness\", \"/record\", \"after\"]
poststop_timeout = \"10m\"
";

impl Jail {
    /// Each after those that it depends on.
    pub(crate) fn all() -> Vec<Self> {
        let numbered = |(kind, word, count, rest): (Kind, &str, usize, &'static [&'static str])| {
            let name = |number| format!("{word}-{number}");
            let jail = |name| Self { name, kind, asked: 0, rest, edits: 0, present: true };
            (0..count).map(name).map(jail).collect::<Vec<_>>()
        };
        KINDS.into_iter().flat_map(numbered).collect()
    }

    pub(crate) fn unit(&self) -> String {
        let kind = match self.kind {
            Kind::Mortal if self.is(AGING) => "aging",
            Kind::Mortal => "mortal",
            _ => "steady",
        };
        let source = match self.kind {
            Kind::Packed => "tar:/data/images/witness.tar",
            _ => "erofs:/usr/share/jails/nuisance.erofs",
        };
        let (name, edits, rest) = (&self.name, self.edits, self.rest.concat());
        // An edit that asks for a restart, and one that is taken over live.
        format!(
            "version = 1
[image]
source = \"{source}\"
[network]
mode = \"none\"
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
[process]
exec = [\"/bin/witness\", \"/record\", \"{kind}\"]
environment = {{ EDIT = \"{}\" }}
{rest}",
            20 + edits % 2,
            edits / 2,
        )
    }

    pub(crate) fn path(&self) -> String {
        format!("/etc/jails.d/{}.toml", self.name)
    }

    /// Its own record, as it is on the host.
    pub(crate) fn record(&self, vm: &mut Vm) -> String {
        vm.agent().read(&format!("/data/volumes/{}/data/record", self.name)).unwrap_or_default()
    }

    pub(crate) fn is(&self, word: &str) -> bool {
        self.name.starts_with(word)
    }

    /// Puts the unit there, as a whole.
    pub(crate) fn drop_in(&mut self, vm: &mut Vm) {
        self.present = true;
        let draft = format!("/data/etc/{}.draft", self.name);
        vm.agent().write(&draft, &self.unit()).unwrap();
        vm.sh(&format!("mv {draft} {}", self.path()));
    }

    /// The archive has other contents from now on.
    pub(crate) fn pack(&mut self, vm: &mut Vm) {
        self.edits += 1;
        vm.sh(&format!(
            "cd /data/tree && echo {} >contents && tar -cf ../new.tar . && mv ../new.tar /data/images/witness.tar",
            self.edits
        ));
    }

    /// The contents of the archive that were written last.
    pub(crate) fn contents(&self) -> String {
        self.edits.to_string()
    }

    /// One random thing is done to it. Whoever is asked may be dead, or die of being asked: so what is
    /// ordered counts as what may have happened.
    fn disturb(&mut self, random: &mut Random, vm: &mut Vm) {
        match self.kind {
            Kind::Steady | Kind::Mortal | Kind::Dependent(_) | Kind::Bound(_) => {}
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
            Kind::Ordered => self.order(["stop", "start", "restart"][random.index(3)], vm),
            Kind::Packed => {
                self.pack(vm);
                if random.below(2) == 0 {
                    self.order("restart", vm);
                }
            }
        }
    }

    /// Whether an end that is asked of that one is one of its own, too.
    pub(crate) fn depends_on(&self, name: &str) -> bool {
        matches!(self.kind, Kind::Dependent(on) if on == name)
    }

    fn order(&mut self, order: &str, vm: &mut Vm) {
        self.asked += usize::from(order != "start");
        vm.sh(&format!("jailctl {order} {} --no-wait >/dev/null 2>&1; true", self.name));
    }
}

/// One random thing is done to one of them.
pub(crate) fn disturb(jails: &mut [Jail], random: &mut Random, vm: &mut Vm) {
    let index = random.index(jails.len());
    let before = jails[index].asked;
    jails[index].disturb(random, vm);
    let (name, asked) = (jails[index].name.clone(), jails[index].asked - before);
    for jail in jails.iter_mut().filter(|jail| jail.depends_on(&name)) {
        jail.asked += asked;
    }
}

/// The archive of those that are packed, with the program of a jail that runs.
pub(crate) fn pack_first(jails: &mut [Jail], vm: &mut Vm) {
    let pid = vm.agent().service("steady-0", "witness").unwrap().pid;
    vm.sh(&format!(
        "mkdir -p /data/images /data/tree/bin && cp /proc/{pid}/root/bin/witness /data/tree/bin"
    ));
    for jail in jails.iter_mut().filter(|jail| jail.kind == Kind::Packed) {
        jail.pack(vm);
    }
}
