//! `jailctl check`, `jailctl cat` and `jailctl explain`.

use std::collections::BTreeSet;

use jailsupd::control::wire::{Checked, Effect, KeyDoc, UnitRole, UnitText};

use super::{Paint, Style, one_line, pairs, printable, problem, wrap};

/// The problems as jailsupd tells them; without any, how much was looked at.
pub(crate) fn checked(checked: &Checked, _: u64, _: Style) -> String {
    if !checked.problems.is_empty() {
        let texts = checked.problems.iter().map(|p| problem(&p.text));
        return texts.collect::<Vec<_>>().join("\n");
    }
    match checked.checked {
        0 => "there are no unit files\n".to_owned(),
        1 => "1 unit file: no problems\n".to_owned(),
        more => format!("{more} unit files: no problems\n"),
    }
}

/// "3 problems in 2 of 5 unit files"; none when there are none.
pub(crate) fn count_problems(checked: &Checked) -> Option<String> {
    let files: BTreeSet<&str> = checked.problems.iter().map(|p| p.file.as_str()).collect();
    let problems = match checked.problems.len() {
        0 => return None,
        1 => "1 problem".to_owned(),
        more => format!("{more} problems"),
    };
    let plural = if checked.checked == 1 { "" } else { "s" };
    Some(format!("{problems} in {} of {} unit file{plural}", files.len(), checked.checked))
}

/// Each file under its path. Tabs stay: what is shown can be saved.
pub(crate) fn cat(files: &[UnitText], style: Style) -> String {
    let shown = files.iter().map(|file| {
        let role = match file.role {
            UnitRole::Unit => "",
            UnitRole::DropIn => " (drop-in)",
            UnitRole::Template => " (template)",
        };
        let head = style.paint(Paint::Dim, &format!("# {}{role}", one_line(&file.path)));
        let lines: Vec<String> = file.text.trim_end().split('\t').map(printable).collect();
        format!("{head}\n{}\n", lines.join("\t"))
    });
    shown.collect::<Vec<_>>().join("\n")
}

/// All keys, with the first sentence of each.
pub(crate) fn keys(entries: &[KeyDoc], style: Style) -> String {
    let width = entries.iter().map(|entry| entry.key.chars().count()).max().unwrap_or(0);
    let mut out = String::new();
    for entry in entries {
        let first = entry.doc.split_inclusive(". ").next().unwrap_or_default();
        let key = style.paint(Paint::Bold, &format!("{:width$}", one_line(&entry.key)));
        let indent = " ".repeat(width + 2);
        let text = wrap(&one_line(first), &indent);
        out.push_str(&format!("{key}  {}\n", text.trim()));
    }
    out + "\n`jailctl explain KEY` tells all about one, `jailctl explain TABLE` about those of a table\n"
}

/// Everything about some keys.
pub(crate) fn key_docs(entries: &[KeyDoc], style: Style) -> String {
    entries.iter().map(|entry| key_doc(entry, style)).collect::<Vec<_>>().join("\n")
}

fn key_doc(entry: &KeyDoc, style: Style) -> String {
    let otherwise = match (&entry.default, &entry.otherwise) {
        _ if entry.required => "required".to_owned(),
        (Some(value), _) => value.clone(),
        (None, Some(words)) => words.clone(),
        (None, None) => "none".to_owned(),
    };
    let changed = match entry.effect {
        Effect::Live => "in force at once",
        Effect::Restart => "restarts the jail",
    };
    let name = entry.key.rsplit('.').next().unwrap_or_default();
    let rows = [
        ("Takes", Some(entry.kind.clone())),
        ("Default", Some(otherwise)),
        ("A change", Some(changed.to_owned())),
        ("Example", Some(format!("{name} = {}", entry.example))),
    ];
    let head = style.paint(Paint::Bold, &one_line(&entry.key));
    format!("{head}\n{}\n{}", wrap(&one_line(&entry.doc), "  "), pairs(&rows, style))
}
