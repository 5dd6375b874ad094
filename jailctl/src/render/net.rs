//! `jailctl net` and `jailctl net doctor`.

use jailsupd::control::wire::{
    Diagnosis, Finding, LinkState, NetAddress, NetLink, NetRoute, NetworkShown, SetBy, Weight,
};

use super::time::ago;
use super::{Paint, Style, one_line, wrap};

/// Whose a row is that is no jail's.
const HOST: &str = "-";

/// A row of a table, and how one of its cells looks.
struct Row {
    cells: Vec<String>,
    paint: Option<(usize, Paint)>,
}

impl Row {
    fn new<const N: usize>(cells: [&str; N]) -> Self {
        Self { cells: cells.map(one_line).to_vec(), paint: None }
    }
}

/// Three tables: links, addresses, routes.
pub(crate) fn network(shown: &NetworkShown, now: u64, style: Style) -> String {
    let mut links: Vec<Row> = shown.links.iter().map(|one| link(HOST, one)).collect();
    let mut addresses = rows_of_addresses(HOST, &shown.links, now);
    let mut routes: Vec<Row> = told(&shown.routes).map(|one| route(HOST, one)).collect();
    for of in &shown.jails {
        let name = of.jail.as_str();
        links.extend(of.links.iter().map(|one| link(name, one)));
        addresses.extend(rows_of_addresses(name, &of.links, now));
        routes.extend(told(&of.routes).map(|one| route(name, one)));
    }
    let head = ["JAIL", "LINK", "KIND", "STATE", "MTU", "MAC", "ON"];
    let mut out = table(&Row::new(head), &links, style);
    out.push_str(&remarks(shown, style));
    if !addresses.is_empty() {
        out.push('\n');
        out.push_str(&table(&Row::new(["JAIL", "LINK", "ADDRESS", "SET BY"]), &addresses, style));
    }
    if !routes.is_empty() {
        out.push('\n');
        let head = ["JAIL", "ROUTE", "VIA", "LINK", "SET BY"];
        out.push_str(&table(&Row::new(head), &routes, style));
    }
    out
}

/// What tables cannot say of jails.
fn remarks(shown: &NetworkShown, style: Style) -> String {
    let mut out = String::new();
    for of in &shown.jails {
        let cut = of.cut.then_some("has more than is shown here");
        for text in of.problem.as_deref().into_iter().chain(cut) {
            let text = wrap(&format!("{} {}", one_line(&of.jail), one_line(text)), "    ");
            out.extend(text.lines().map(|line| style.paint(Paint::Bad, line) + "\n"));
        }
    }
    out
}

fn link(jail: &str, link: &NetLink) -> Row {
    let own = if link.warder && jail == HOST { " (warder)" } else { "" };
    let on = match (&link.network, &link.parent, link.vlan) {
        (Some(network), ..) => format!("network {network}{own}"),
        (None, Some(parent), Some(vlan)) => format!("{parent}, VLAN {vlan}{own}"),
        (None, Some(parent), None) => format!("{parent}{own}"),
        (None, None, _) => String::new(),
    };
    let (state, paint) = match link.state {
        LinkState::Up => ("up", Paint::Good),
        LinkState::NoCarrier => ("no carrier", Paint::Bad),
        LinkState::Down => ("down", Paint::Bad),
    };
    let mac = link.mac.as_deref().unwrap_or_default();
    let row = Row::new([jail, &link.name, &link.kind, state, &link.mtu.to_string(), mac, &on]);
    Row { paint: Some((3, paint)), ..row }
}

fn rows_of_addresses(jail: &str, links: &[NetLink], now: u64) -> Vec<Row> {
    let all = links.iter().flat_map(|link| link.addresses.iter().map(move |one| (link, one)));
    all.map(|(link, address)| {
        let row = Row::new([jail, &link.name, &address.address, &set_by_of(address, now)]);
        Row { paint: address.problem.as_ref().map(|_| (3, Paint::Bad)), ..row }
    })
    .collect()
}

fn set_by_of(address: &NetAddress, now: u64) -> String {
    let mut text = set_by(address.set_by, address.from.as_deref());
    if let Some(ends) = address.ends {
        text.push_str(&format!(", ends in {}", ago(now, ends)));
    }
    if let Some(problem) = &address.problem {
        text.push_str(&format!("; {problem}"));
    }
    text
}

/// Those that follow from an address are not worth a line.
fn told(routes: &[NetRoute]) -> impl Iterator<Item = &NetRoute> {
    routes.iter().filter(|route| route.set_by != SetBy::Kernel)
}

fn route(jail: &str, route: &NetRoute) -> Row {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let set_by = set_by(route.set_by, route.from.as_deref());
    Row::new([jail, &route.to, &text(&route.via), &text(&route.link), &set_by])
}

fn set_by(set_by: SetBy, from: Option<&str>) -> String {
    match (set_by, from) {
        (SetBy::Unit | SetBy::Host, Some(place)) => place.to_owned(),
        (SetBy::Lease, Some(server)) => format!("DHCP server {server}"),
        (SetBy::Network, Some(name)) => format!("network {name}"),
        (SetBy::Router, _) => "a router's advertisement".to_owned(),
        (SetBy::Other, _) => "somebody else".to_owned(),
        (other, _) => other.word().to_owned(),
    }
}

fn table(head: &Row, rows: &[Row], style: Style) -> String {
    let width = |column: usize| {
        let cells = [head].into_iter().chain(rows).filter_map(|row| row.cells.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.cells.len()).map(width).collect();
    let padded = |row: &Row| -> Vec<String> {
        let cells = row.cells.iter().zip(&widths);
        cells.map(|(cell, width)| format!("{cell:width$}")).collect()
    };
    let mut out = style.paint(Paint::Dim, padded(head).join("  ").trim_end()) + "\n";
    for row in rows {
        let mut cells = padded(row);
        if let Some((column, paint)) = row.paint {
            if let Some(cell) = cells.get_mut(column) {
                *cell = style.paint(paint, cell);
            }
        }
        out.push_str(cells.join("  ").trim_end());
        out.push('\n');
    }
    out
}

/// What was found, the foremost first, and what is right.
pub(crate) fn diagnosis(found: &Diagnosis, style: Style) -> String {
    let name = one_line(&found.jail);
    let is_ill = found.findings.iter().any(|one| one.weight != Weight::Note);
    let mut out = match is_ill {
        true => format!("{}\n", style.paint(Paint::Bold, &name)),
        false => format!("{}  nothing is wrong\n", style.paint(Paint::Bold, &name)),
    };
    out.extend(found.findings.iter().map(|one| finding(one, style)));
    if !found.right.is_empty() {
        out.push_str(&format!("\n{}\n", style.paint(Paint::Dim, "Looked at, and as it should be")));
        out.extend(found.right.iter().map(|text| entry("  ", "", text)));
    }
    out
}

fn finding(finding: &Finding, style: Style) -> String {
    let (word, paint) = match finding.weight {
        Weight::Wrong => ("wrong", Paint::Bad),
        Weight::Suspected => ("perhaps", Paint::Passing),
        Weight::Note => ("note", Paint::Dim),
    };
    let first = entry("  ", "", &format!("{word}: {}", finding.what));
    let painted = format!("  {}", style.paint(paint, word));
    let mut out = first.replacen(&format!("  {word}"), &painted, 1);
    out.push_str(&entry("      ", "seen: ", &finding.evidence));
    if let Some(remedy) = &finding.remedy {
        out.push_str(&entry("      ", "help: ", remedy));
    }
    out.insert(0, '\n');
    out
}

/// A text whose later lines stand below its first.
fn entry(indent: &str, lead: &str, text: &str) -> String {
    let hang = " ".repeat(indent.len() + lead.len());
    let wrapped = wrap(&one_line(text), &hang);
    format!("{indent}{lead}{}", wrapped.get(hang.len()..).unwrap_or_default())
}
