//! `jailctl host info`.

use jailsupd::control::wire::{HostInfo, Stage, StageState};

use super::time::{ago, span};
use super::{Paint, Style, one_line, pairs, problems, wrap};

/// What the host is, and its boot, stage by stage.
pub(crate) fn host(info: &HostInfo, now: u64, style: Style) -> String {
    let rows = [
        ("Kernel", Some(info.kernel.clone())),
        ("Boot id", Some(info.boot_id.clone())),
        ("Data", Some(info.data.clone())),
        ("Uplink", Some(info.uplink.clone().unwrap_or_else(|| "none found".to_owned()))),
    ];
    let name = style.paint(Paint::Bold, &one_line(&info.hostname));
    let head =
        format!("{name}  Warder {}, up for {}\n", one_line(&info.version), ago(info.booted, now));
    head + &pairs(&rows, style) + &stages(&info.stages, style) + &problems(&info.problems, style)
}

fn stages(all: &[Stage], style: Style) -> String {
    if all.is_empty() {
        return String::new();
    }
    let name = all.iter().map(|stage| stage.name.chars().count()).max().unwrap_or(0).max(5);
    let head = format!("  {:name$}  {:>8}  {:>8}  STATE", "STAGE", "AT", "TOOK");
    let mut out = format!("\n{}\n", style.paint(Paint::Dim, &head));
    for stage in all {
        let paint = match stage.state {
            StageState::Ok => Paint::Good,
            StageState::Degraded => Paint::Passing,
            StageState::Failed => Paint::Bad,
        };
        out.push_str(&format!(
            "  {:name$}  {:>8}  {:>8}  {}\n",
            one_line(&stage.name),
            span(stage.start_us),
            span(stage.duration_us),
            style.paint(paint, &stage.state.to_string()),
        ));
        out.push_str(&wrap(&one_line(&stage.message), "      "));
    }
    out
}
