//! `jailctl plan` and `jailctl apply`.

use jailsupd::control::wire::{Applied, Change, Consequence, Effect, Outcome, PlanStep, Planned};

use super::{Paint, Style, one_line, paint_of, problems, wrap};

const fn paint_of_consequence(consequence: Consequence) -> Paint {
    match consequence {
        Consequence::Start | Consequence::Live => Paint::Good,
        Consequence::Stop | Consequence::Restart | Consequence::Replace => Paint::Passing,
        Consequence::Nothing => Paint::Dim,
        Consequence::Invalid => Paint::Bad,
    }
}

/// What would happen, field by field; jails to which nothing would are only counted.
pub(crate) fn plan(planned: &Planned, style: Style) -> String {
    let (same, steps): (Vec<&PlanStep>, Vec<&PlanStep>) =
        planned.steps.iter().partition(|step| step.consequence == Consequence::Nothing);
    let width = steps.iter().map(|step| step.name.chars().count()).max().unwrap_or(0);
    let mut out = String::new();
    for step in &steps {
        let word = format!("{:7}", step.consequence);
        let word = style.paint(paint_of_consequence(step.consequence), &word);
        let name = style.paint(Paint::Bold, &format!("{:width$}", one_line(&step.name)));
        let why = one_line(&step.why);
        out.push_str(format!("{name}  {word}  {why}").trim_end());
        out.push('\n');
        step.changes.iter().for_each(|change| out.push_str(&change_line(change, style)));
        if !step.problems.is_empty() {
            out.push_str(problems(&step.problems, style).trim_start_matches('\n'));
        }
    }
    out + &rest(steps.is_empty(), same.len())
}

/// `    resources.memory_max: "256M" -> "512M" (live)`.
fn change_line(change: &Change, style: Style) -> String {
    let value = |value: &Option<String>| value.as_deref().map_or("unset".to_owned(), one_line);
    let effect = match change.effect {
        Effect::Live => "live",
        Effect::Restart => "needs a restart",
    };
    let key = style.paint(Paint::Dim, &format!("{}:", one_line(&change.key)));
    let (old, new) = (value(&change.old), value(&change.new));
    let line = format!("    {key} {old} -> {new} ({effect})\n");
    if line.chars().count() <= super::WIDTH {
        return line;
    }
    format!("    {key} ({effect})\n        {old}\n     -> {new}\n")
}

fn rest(alone: bool, same: usize) -> String {
    match (alone, same) {
        (true, 0) => "there are no units: nothing would happen\n".to_owned(),
        (true, _) => "all jails are as their units say: nothing would happen\n".to_owned(),
        (false, 0) => String::new(),
        (false, 1) => "1 other jail stays as it is\n".to_owned(),
        (false, more) => format!("{more} other jails stay as they are\n"),
    }
}

/// What was done, and the state that each jail came to.
pub(crate) fn applied(outcome: &Outcome, style: Style) -> String {
    let is_told =
        |jail: &&Applied| jail.consequence != Consequence::Nothing || jail.problem.is_some();
    let told: Vec<&Applied> = outcome.jails.iter().filter(is_told).collect();
    if told.is_empty() {
        return "all jails are as their units say: nothing is left to do\n".to_owned();
    }
    let width = told.iter().map(|jail| jail.name.chars().count()).max().unwrap_or(0).max(4);
    let head = format!("{:width$}  {:7}  STATE", "NAME", "DONE");
    let mut out = style.paint(Paint::Dim, &head) + "\n";
    for jail in told {
        let word = format!("{:7}", jail.consequence);
        let word = style.paint(paint_of_consequence(jail.consequence), &word);
        let state = style.paint(paint_of(jail.reached), jail.reached.word());
        out.push_str(&format!("{:width$}  {word}  {state}\n", one_line(&jail.name)));
        let problem = jail.problem.as_deref().map(one_line).unwrap_or_default();
        let lines = wrap(&problem, "    ");
        out.extend(lines.lines().map(|line| style.paint(Paint::Bad, line) + "\n"));
    }
    out
}
