//! The reference pages, from the tables of keys.

use std::fmt::Write as _;

use super::document::{Effect, Grammar, Key, Presence};
use super::host::HOST;
use super::keys::UNIT;
use super::named_network::NETWORK;
use super::policy::POLICY;
use super::value::{Field, FieldPresence, Kind, choices};

const UNITS: &str = "\
A unit file is one jail. Its stem is the jail's name: `/etc/jails.d/web.toml` is the jail `web`. A name is made
of `a-z`, `0-9` and `-`, starts with a letter or a digit, and has at most 63 characters. The directories are
`/usr/lib/jails.d`, `/etc/jails.d` and `/run/jails.d`; a file in a later one replaces the file of that name in
an earlier one. A link to `/dev/null` masks: the jail of that name is not there. Hidden files, and those whose name
ends otherwise, are not looked at.

The format is [TOML](https://toml.io). A file with a problem is refused as a whole, with every problem named by
line and column; the other jails are not touched.

For editors and other tools there are JSON Schemas: [`unit.schema.json`](unit.schema.json) of whole units,
[`unit-part.schema.json`](unit-part.schema.json) of templates, instances and drop-ins. The host has the same files in
`/usr/share/warder`, and `jailctl explain --schema` prints the first.

Amounts have units: sizes `B`, `K`, `M`, `G`, `T` (each 1024 times the one before), durations `us`, `ms`, `s`,
`m`, `h`, `d`, also summed (`1h30m`), processor time `%`.

A `%` in a string starts a specifier: `%n` is the jail's name, `%i` the instance of a template, `%%` a percent sign.
(`cpu_max = \"50%\"` is the one place where it is written alone.)

A smallest unit:

```toml
version = 1

[image]
source = \"erofs:/usr/share/jails/web.erofs\"

[process]
exec = [\"/usr/sbin/nginx\", \"-g\", \"daemon off;\"]

[network]
address = [\"192.0.2.10/24\"]
gateway = [\"192.0.2.1\"]
```

## Drop-ins

Files `NAME.toml.d/*.toml` are put on top of `NAME.toml`, those of all directories together, in the order of their
names. Each says only the keys that it changes: a key replaces the key below it, and `environment` adds to the
variables below it, `[[volume]]` to its volumes. A drop-in of the same name in a later directory replaces the earlier one; a link to `/dev/null`
takes it out. What a drop-in makes void is forgotten: one with `mode = \"none\"` in `[network]` need not mind the
addresses of the unit.

## Templates

`NAME@.toml` is a template. It is no jail itself; `NAME@INSTANCE.toml` makes the jail `NAME-INSTANCE` from it, and is
a link to the template, an empty file, or a file with the keys in which this instance differs. `%i` stands for the
instance, whose name is made like a jail's. What counts, the later winning: the template, `NAME@.toml.d/*.toml`, the
instance's file, `NAME@INSTANCE.toml.d/*.toml`. Masking a template masks all its instances; one of them is masked
by its own file or by the jail's name, `NAME-INSTANCE.toml`.

```toml
# /etc/jails.d/shard@.toml; then: ln -s shard@.toml /etc/jails.d/shard@1.toml
version = 1

[image]
source = \"erofs:/usr/share/jails/shard.erofs\"

[process]
exec = [\"/usr/bin/shard\", \"--number=%i\"]

[network]
address = [\"192.0.2.%i/24\"]
hostname = \"%n.example.org\"
```
";

const HOSTS: &str = "\
`/usr/lib/warder/host.toml` is part of the image; `/etc/warder/host.toml` is the host's own and wins, key by key.
A host without either works: it has no address of its own, and its jails share the first Ethernet link.

It is read when jailsupd begins: an edit holds from the next boot. A file with a mistake in it counts for nothing: the
defaults of this page hold, and `jailctl host info` shows the mistake.
";

const NETWORKS: &str = "\
`/etc/jails.d/networks/back.toml` is the network `back` of the host, which jails join with `mode = \"bridge\"` and
`network = \"back\"` in `[network]` of their [units](units.md). What such a network is, [network.md](network.md#networks-of-the-hosts-own)
tells. A name is made of `a-z`, `0-9` and `-`, starts with a letter or a digit, and has at most 12 characters. The directories are
`networks` in `/usr/lib/jails.d`, `/etc/jails.d` and `/run/jails.d`; a file in a later one replaces the file of that name
in an earlier one.

An edit holds at once, and counts as one of each unit that names the network: jails in it are restarted, and those at rest started, if their subnets,
packet size or way out change. A file with a mistake in it, or one that is gone, stops nothing: the jails that run in the network stay in it as it was, and are refused
like units with a mistake until it is mended. `jailctl check` shows what is wrong.

For editors there is a JSON Schema, [`network.schema.json`](network.schema.json), which the host has in `/usr/share/warder`.
";

const POLICIES: &str = "\
The policy says what units may ask for on this host. Whoever administers the host writes it; whoever writes units stays
within it. `/usr/lib/warder/policy.toml` is part of the image; `/etc/warder/policy.toml` is the host's own and wins, key
by key. A host without either has the defaults of this page, which are safe.

The sections and keys are those of a [unit file](units.md): a key of the policy bounds the key of the same name in
every unit, and `[network] forward` that of the [networks'](networks-toml.md) files. A unit that asks for more is refused as a whole, like one with a mistake in it; `jailctl check` names the
unit's line, and the rule with its file and line.

A changed policy holds at once, for everything that starts from then on:

* A jail that runs is not stopped by it. `jailctl ls` shows that its unit is refused now; when it ends, it is not
  started again, neither by its restart policy nor by hand, until unit or policy is changed.
* A unit that was refused and is allowed now starts its jail.
* A unit that is edited to ask for too much is refused, and the version before it stays in force.

A policy with a mistake in it counts for nothing: the defaults hold until it is mended, and `jailctl check` and
`jailctl host info` show the mistake.

What is inside an image grants nothing, whatever it says: only a unit asks, and only the policy allows.
";

/// `docs/units.md`.
pub fn units_page() -> String {
    page("Unit files", UNITS, &UNIT, Effect::sentence)
}

/// `docs/host-toml.md`.
pub fn host_page() -> String {
    page("host.toml", HOSTS, &HOST, |_| "")
}

/// `docs/networks-toml.md`.
pub fn networks_page() -> String {
    page("Files of networks", NETWORKS, &NETWORK, |_| "")
}

/// `docs/policy-toml.md`.
pub fn policy_page() -> String {
    page("policy.toml", POLICIES, &POLICY, |_| "")
}

fn page<D>(
    title: &str,
    prose: &str,
    grammar: &Grammar<D>,
    effect: fn(Effect) -> &'static str,
) -> String {
    let mut out = format!("# {title}\n\n");
    out.push_str("<!-- Made from the table of keys by `UPDATE=1 cargo test -p jailsupd --test reference`. -->\n\n");
    out.push_str(prose);
    let _ = write!(out, "\n## Above all tables\n\n");
    grammar
        .keys
        .iter()
        .filter(|k| k.section.is_empty() && k.fields().is_none())
        .for_each(|k| out.push_str(&entry(k, effect)));
    for section in grammar.sections {
        let _ = write!(out, "## `[{}]`\n\n{}\n\n", section.name, section.doc);
        let keys = grammar.keys.iter();
        let keys = keys.filter(|k| k.section == section.name && k.fields().is_none());
        keys.for_each(|k| out.push_str(&entry(k, effect)));
    }
    for key in grammar.keys {
        out.push_str(&key.fields().map_or_else(String::new, |fields| list(key, fields, effect)));
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

fn entry<D>(key: &Key<D>, effect: fn(Effect) -> &'static str) -> String {
    let (name, doc, kind) = (key.name, key.doc, takes(&key.kind));
    let otherwise = match key.presence {
        Presence::Required => "Required.".to_owned(),
        Presence::Default(value) => format!("Default: `{value}`."),
        Presence::Unset(meaning) => format!("Without it: {meaning}."),
    };
    let effect = effect(key.effect);
    let line = format!("Takes {kind}. {otherwise} {effect}");
    let line = line.trim_end();
    format!("### `{name}`\n\n{doc}\n\n{line}\n\n```toml\n{name} = {}\n```\n\n", key.example)
}

/// A list of tables: what it is, and the keys of each table.
fn list<D>(key: &Key<D>, fields: &[Field], effect: fn(Effect) -> &'static str) -> String {
    let mut out = format!("## `[[{}]]`\n\n{} {}\n\n", key.path(), key.doc, effect(key.effect));
    for field in fields {
        let otherwise = match field.presence {
            FieldPresence::Required => "Required.".to_owned(),
            FieldPresence::Default(value) => format!("Default: `{value}`."),
            FieldPresence::Unset(meaning) => format!("Without it: {meaning}."),
        };
        let (name, doc, kind, example) = (field.name, field.doc, takes(field.kind), field.example);
        let _ = write!(
            out,
            "### `{name}`\n\n{doc}\n\nTakes {kind}. {otherwise}\n\n```toml\n{name} = {example}\n```\n\n"
        );
    }
    out
}

fn takes(kind: &Kind) -> String {
    match kind {
        Kind::Choice(words) => choices(words).split(' ').map(mark).collect::<Vec<_>>().join(" "),
        Kind::List(of) => format!("a list; each element is {}", takes(of)),
        other => other.noun(),
    }
}

/// Quoted words as code, their comma outside.
fn mark(word: &str) -> String {
    match word.strip_suffix(',') {
        Some(bare) => format!("`{bare}`,"),
        None if word.starts_with('"') => format!("`{word}`"),
        None => word.to_owned(),
    }
}
