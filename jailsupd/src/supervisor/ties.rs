//! What units are to each other by `[dependencies]`, before they are in force: the ones that are refused, and what
//! a step of one jail leads to with others.

use super::jail::Jail;
use super::reconcile::refuse;
use super::step::Step;
use super::{Supervisor, dependencies::Order};
use crate::control::wire::Consequence;
use crate::machine::{State, Want};
use crate::unit::{Relation, Tree, Unit, graph};
use std::borrow::Cow;
use std::collections::BTreeSet;

impl Supervisor {
    /// Refuses units that name jails that do not exist, and those that go round in circles.
    pub(super) fn refuse_ties(&self, tree: &mut Tree) {
        let named = tree.units.iter().filter(|resolved| !resolved.is_orphan);
        let known: BTreeSet<&str> = named.map(|resolved| resolved.name.as_str()).collect();
        let masked: BTreeSet<&str> = tree.masked.iter().map(|m| m.name.as_str()).collect();
        let good = tree.units.iter().filter_map(|resolved| resolved.result.as_ref().ok());
        let unknown = graph::unknown(good, &known, &masked);
        refuse(&mut tree.units, unknown);
        // Of a unit that is refused its last good version stays in force, and with it what that names; so there
        // may be another circle, then.
        for _ in 0..=tree.units.len() {
            let in_force = |name: &str| {
                let jail = self.jails.find(name).and_then(|id| self.jails.get(id))?;
                Some(&jail.loaded.as_ref()?.unit)
            };
            let units: Vec<&Unit> = tree
                .units
                .iter()
                .filter_map(|r| r.result.as_ref().ok().or_else(|| in_force(&r.name)))
                .collect();
            let circles = graph::circles(&units);
            let is_new = |name: &str| tree.units.iter().any(|r| r.name == name && r.result.is_ok());
            let circles: Vec<_> =
                circles.into_iter().filter(|clash| is_new(clash.name.as_str())).collect();
            if circles.is_empty() {
                return;
            }
            refuse(&mut tree.units, circles);
        }
    }

    /// Adds what the steps lead to with jails that depend on others: who is stopped or restarted with whom, and who
    /// is started for whom.
    pub(super) fn derive(&self, steps: &mut [Step]) {
        let order =
            Order::of(self.jails.iter().filter_map(|jail| Some(&jail.loaded.as_ref()?.unit)));
        let mut next: Vec<usize> = (0..steps.len()).collect();
        while let Some(at) = next.pop() {
            let found = match steps.get(at) {
                Some(step)
                    if matches!(step.consequence, Consequence::Stop | Consequence::Restart) =>
                {
                    self.sent_away(step, &order)
                }
                Some(step) if step.consequence == Consequence::Start => self.started_for(step),
                _ => continue,
            };
            for (name, consequence, why) in found {
                let Some(at) = steps.iter().position(|step| step.name == name) else { continue };
                match steps[at].consequence {
                    Consequence::Nothing => {
                        steps[at].consequence = consequence;
                        steps[at].why = Cow::Owned(why);
                        steps[at].is_derived = true;
                        next.push(at);
                    }
                    // What it takes over is to be done; the rest follows by itself.
                    Consequence::Live => steps[at].why = format!("its unit changed; {why}").into(),
                    Consequence::Start
                    | Consequence::Stop
                    | Consequence::Restart
                    | Consequence::Replace
                    | Consequence::Invalid => {}
                }
            }
        }
    }

    /// Jails that run and need one that stops or restarts.
    fn sent_away(&self, step: &Step, order: &Order) -> Vec<(String, Consequence, String)> {
        let needed = order.dependents(&step.name).iter().filter(|(r, _)| r.is_needed());
        let runs = |name: &str| {
            let jail = self.jails.find(name).and_then(|id| self.jails.get(id));
            jail.is_some_and(Jail::is_running)
        };
        let found = needed.filter(|(_, name)| runs(name)).map(|(relation, name)| {
            let verb = relation.verb();
            let what = if step.consequence == Consequence::Stop { "stops" } else { "restarts" };
            (name.clone(), step.consequence, format!("it {verb} {}, which {what}", step.name))
        });
        found.collect()
    }

    /// Jails that rest and are started with one that starts.
    fn started_for(&self, step: &Step) -> Vec<(String, Consequence, String)> {
        let Some(unit) = &step.unit else { return Vec::new() };
        let rests = |name: &str| {
            let jail = self.jails.find(name).and_then(|id| self.jails.get(id));
            jail.is_none_or(|jail| {
                let never = jail.machine.state == State::Down && jail.machine.want == Want::Down;
                never && !jail.held_down
            })
        };
        let named = unit.dependencies.all().filter(|(r, name)| r.starts_it() && rests(name));
        let found = named.map(|(relation, name): (Relation, &str)| {
            let why = format!("{} {} it", step.name, relation.verb());
            (name.to_owned(), Consequence::Start, why)
        });
        found.collect()
    }
}
