//! What units are to each other by `[dependencies]`: names that no unit has, and circles.
//!
//! A circle is refused as a whole, with its path: no edge of it is weaker than the others in a way that its writer
//! would guess. Of the start order (`requires`, `binds_to`, `wants`, `after`, `before`) that is one that could
//! never begin; of `on_failure`, one that might never end.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::dependencies::Relation;
use super::nearest::nearest;
use super::set::Clash;
use super::{Place, Problem, Unit};

/// The longest path that a message tells in full.
const TOLD: usize = 8;

/// One jail waits for another, or is followed by it.
#[derive(Clone, Debug)]
struct Edge<'a> {
    from: &'a str,
    to: &'a str,
    /// As the file says it: "web requires db".
    said: String,
    key: &'static str,
    place: Place,
}

fn edges<'a>(units: &[&'a Unit], is_order: bool) -> Vec<Edge<'a>> {
    let of = |unit: &'a Unit| {
        let named = unit
            .dependencies
            .all()
            .filter(move |(relation, _)| is_order == (*relation != Relation::OnFailure));
        named.map(move |(relation, name)| {
            let own = unit.name.as_str();
            let (from, to) = if relation == Relation::Before { (name, own) } else { (own, name) };
            let said = format!("{own} {} {name}", relation.verb());
            Edge { from, to, said, key: relation.key(), place: unit.origin.at(relation.key()) }
        })
    };
    units.iter().copied().flat_map(of).collect()
}

/// The units that cannot be in force beside each other, since they go round in a circle, each with the shortest
/// circle that it is in.
#[must_use]
pub fn circles(units: &[&Unit]) -> Vec<Clash> {
    let all = [edges(units, true), edges(units, false)];
    let mut found = Vec::new();
    for edges in &all {
        for (name, path) in paths_back(edges) {
            let Some(unit) = units.iter().find(|unit| unit.name.as_str() == name) else { continue };
            found.extend(refuse(unit, &path));
        }
    }
    found
}

/// For each name in a circle the shortest way from it back to it.
fn paths_back<'e, 'a>(edges: &'e [Edge<'a>]) -> BTreeMap<&'a str, Vec<&'e Edge<'a>>> {
    let mut from: BTreeMap<&str, Vec<&Edge<'_>>> = BTreeMap::new();
    for edge in trim(edges) {
        from.entry(edge.from).or_default().push(edge);
    }
    let names = from.keys().copied();
    names.filter_map(|name| Some((name, way_back(name, &from)?))).collect()
}

/// The edges that are left when all jails are taken away that nothing waits for, or that wait for nothing, again
/// and again: those in circles, and between them.
fn trim<'e, 'a>(edges: &'e [Edge<'a>]) -> Vec<&'e Edge<'a>> {
    let mut left: Vec<&Edge<'_>> = edges.iter().collect();
    loop {
        let before = left.len();
        let ends = |end: fn(&Edge<'a>) -> &'a str| {
            let mut ends: Vec<&str> = left.iter().map(|edge| end(edge)).collect();
            ends.sort_unstable();
            ends.dedup();
            ends
        };
        let (froms, tos) = (ends(|edge| edge.from), ends(|edge| edge.to));
        left.retain(|edge| {
            froms.binary_search(&edge.to).is_ok() && tos.binary_search(&edge.from).is_ok()
        });
        if left.len() == before {
            return left;
        }
    }
}

/// Breadth first.
fn way_back<'e, 'a>(
    name: &str,
    from: &BTreeMap<&str, Vec<&'e Edge<'a>>>,
) -> Option<Vec<&'e Edge<'a>>> {
    let mut came: BTreeMap<&str, &Edge<'a>> = BTreeMap::new();
    let mut next = VecDeque::from([name]);
    while let Some(at) = next.pop_front() {
        for edge in from.get(at).into_iter().flatten() {
            if came.contains_key(edge.to) {
                continue;
            }
            came.insert(edge.to, edge);
            if edge.to == name {
                return Some(unwind(name, &came));
            }
            next.push_back(edge.to);
        }
    }
    None
}

fn unwind<'e, 'a>(name: &str, came: &BTreeMap<&str, &'e Edge<'a>>) -> Vec<&'e Edge<'a>> {
    let mut path = Vec::new();
    let mut at = name;
    while let Some(edge) = came.get(at) {
        path.push(*edge);
        at = edge.from;
        if at == name {
            break;
        }
    }
    path.reverse();
    path
}

fn refuse(unit: &Unit, path: &[&Edge<'_>]) -> Option<Clash> {
    let first = path.first()?;
    let told = |edge: &&Edge<'_>| format!("{} ({})", edge.said, edge.place);
    let mut steps: Vec<String> = path.iter().take(TOLD).map(told).collect();
    if path.len() > TOLD {
        steps.push(format!("and {} more", path.len() - TOLD));
    }
    let message = match path {
        [only] if only.from == only.to => "a jail cannot depend on itself".to_owned(),
        _ => format!("goes round in a circle: {}", steps.join(", ")),
    };
    let problem = Problem::new(first.place.clone(), first.key, message);
    let help = if path.len() == 1 { "take its own name out" } else { "take one of these out" };
    Some(Clash { name: unit.name.clone(), problem: problem.help(help) })
}

/// Names that no unit has, where one without it would wait for ever, or its failure lead to nothing. `known` are
/// all names of units, good and bad; `masked` those that are masked.
#[must_use]
pub fn unknown<'a>(
    units: impl IntoIterator<Item = &'a Unit>,
    known: &BTreeSet<&str>,
    masked: &BTreeSet<&str>,
) -> Vec<Clash> {
    let must_exist = |relation: Relation| relation.is_needed() || relation == Relation::OnFailure;
    let mut found = Vec::new();
    for unit in units {
        for (relation, name) in unit.dependencies.all() {
            if !must_exist(relation) || known.contains(name) {
                continue;
            }
            let (message, help) = if masked.contains(name) {
                (format!("the jail `{name}` is masked"), format!("`jailctl unmask {name}`"))
            } else {
                let help = match nearest(name, known.iter().copied()) {
                    Some(near) => format!("did you mean \"{near}\"?"),
                    None => without(relation, name),
                };
                (format!("there is no jail `{name}`"), help)
            };
            let problem = unit.problem(relation.key(), message, help);
            found.push(Clash { name: unit.name.clone(), problem });
        }
    }
    found
}

fn without(relation: Relation, name: &str) -> String {
    match relation {
        Relation::OnFailure => format!("write {name}.toml first, or take the name out"),
        _ => format!("write {name}.toml first, or use `wants`, which does without"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unit::parse;
    use proptest::prelude::*;

    fn unit(name: &str, dependencies: &str) -> Unit {
        let text = format!(
            "version = 1\n[image]\nsource = \"erofs:/a\"\n[process]\nexec = [\"/a\"]\n[network]\nmode = \"none\"\n[dependencies]\n{dependencies}\n"
        );
        parse(name, &format!("/etc/jails.d/{name}.toml"), &text).unwrap()
    }

    fn lines(clashes: &[Clash]) -> Vec<String> {
        clashes
            .iter()
            .map(|clash| format!("{}: {}", clash.name, clash.problem.one_line()))
            .collect()
    }

    #[test]
    fn a_circle_is_told_with_the_place_of_each_edge() {
        let units = [
            unit("db", "after = [\"web\"]"),
            unit("web", "requires = [\"db\"]"),
            unit("other", "requires = [\"web\"]"),
        ];
        let found = lines(&circles(&units.each_ref()));
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!(
            found[1],
            "web: /etc/jails.d/web.toml:9:12: dependencies.requires: goes round in a circle: \
             web requires db (/etc/jails.d/web.toml:9:12), db is after web (/etc/jails.d/db.toml:9:9) \
             (take one of these out)"
        );
    }

    #[test]
    fn before_is_after_the_other_way_round() {
        let units = [unit("a", "before = [\"b\"]"), unit("b", "before = [\"a\"]")];
        assert_eq!(circles(&units.each_ref()).len(), 2);
        let units = [unit("a", "before = [\"b\"]"), unit("b", "requires = [\"a\"]")];
        assert_eq!(circles(&units.each_ref()), []);
    }

    #[test]
    fn a_jail_that_names_itself_is_refused() {
        let found = lines(&circles(&[&unit("a", "wants = [\"a\"]")]));
        assert!(found[0].contains("cannot depend on itself"), "{found:?}");
    }

    #[test]
    fn jails_that_start_each_other_on_failure_are_a_circle_of_their_own() {
        let units = [unit("a", "on_failure = [\"b\"]"), unit("b", "requires = [\"a\"]")];
        assert_eq!(circles(&units.each_ref()), []);
        let units = [unit("a", "on_failure = [\"b\"]"), unit("b", "on_failure = [\"a\"]")];
        assert_eq!(circles(&units.each_ref()).len(), 2);
    }

    #[test]
    fn a_name_that_nobody_has_is_refused_where_it_is_needed() {
        let web = unit(
            "web",
            "requires = [\"bd\"]\nbinds_to = [\"cache\"]\nwants = [\"nobody\"]\nafter = [\"nothing\"]\non_failure = [\"mask\"]",
        );
        let found =
            lines(&unknown([&web], &BTreeSet::from(["db", "web"]), &BTreeSet::from(["mask"])));
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].contains("there is no jail `bd` (did you mean \"db\"?)"), "{found:?}");
        assert!(found[1].contains("write cache.toml first"), "{found:?}");
        assert!(found[2].contains("`mask` is masked (`jailctl unmask mask`)"), "{found:?}");
    }

    const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

    fn edge(from: usize, to: usize) -> Edge<'static> {
        let (from, to) = (NAMES[from % NAMES.len()], NAMES[to % NAMES.len()]);
        Edge { from, to, said: String::new(), key: "", place: Place::whole("x") }
    }

    /// Whether each name reaches itself, by Warshall's algorithm.
    fn in_circles(edges: &[Edge<'static>]) -> BTreeSet<&'static str> {
        let mut reach: BTreeSet<(&str, &str)> = edges.iter().map(|e| (e.from, e.to)).collect();
        for middle in NAMES {
            for from in NAMES {
                for to in NAMES {
                    if reach.contains(&(from, middle)) && reach.contains(&(middle, to)) {
                        reach.insert((from, to));
                    }
                }
            }
        }
        NAMES.into_iter().filter(|name| reach.contains(&(*name, *name))).collect()
    }

    proptest! {
        #[test]
        fn exactly_the_jails_in_circles_are_found_each_with_a_way_back(
            pairs in proptest::collection::vec((0usize..8, 0usize..8), 0..20)
        ) {
            let edges: Vec<Edge<'static>> = pairs.into_iter().map(|(a, b)| edge(a, b)).collect();
            let found = paths_back(&edges);
            prop_assert_eq!(found.keys().copied().collect::<BTreeSet<_>>(), in_circles(&edges));
            for (name, path) in found {
                prop_assert_eq!(path.first().unwrap().from, name);
                prop_assert_eq!(path.last().unwrap().to, name);
                prop_assert!(path.windows(2).all(|pair| pair[0].to == pair[1].from));
                let passed: BTreeSet<&str> = path.iter().map(|edge| edge.from).collect();
                prop_assert_eq!(passed.len(), path.len(), "no jail is passed twice");
            }
        }
    }
}
