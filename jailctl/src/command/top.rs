//! `jailctl top`: what jails use, again and again. Only while it runs anybody looks.

use std::io::Write;
use std::time::Duration;

use jailsupd::control::wire::{Request, UsageTable};
use serde_json::Value;

use super::{Show, results};
use crate::cli::Top;
use crate::error::Error;
use crate::output::Output;
use crate::{render, varlink};

/// Less would show the looking more than the jails.
const LEAST: Duration = Duration::from_millis(100);
/// To the upper left corner, and all of the screen erased: ECMA-48's CUP and ED.
const CLEAR: &str = "\x1b[H\x1b[2J";

pub(super) fn top(show: &Show<'_>, top: &Top, out: &mut Output<impl Write>) -> Result<(), Error> {
    let name = top.of.name.clone();
    let processes = Some(top.processes || name.is_some());
    let request = Request::Stats { name, processes };
    if show.json {
        return show.tell(&request, out, |_: &Value, _, _| String::new());
    }
    let ask = || results::<UsageTable>(varlink::call(show.socket, &request)?);
    // What goes into a file or a pipe is one table, unless more are asked for.
    let mut left = top.count.or((!out.terminal).then_some(1));
    let mut before = ask()?;
    while left != Some(0) {
        std::thread::sleep(Duration::from_millis(top.interval.0).max(LEAST));
        let after = ask()?;
        let table = render::top(&before, &after, out.style);
        out.write(&if out.terminal { format!("{CLEAR}{table}") } else { table })?;
        before = after;
        left = left.map(|left| left - 1);
    }
    Ok(())
}
