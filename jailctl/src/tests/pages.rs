//! What is made from the command line's definition.

use clap::CommandFactory as _;

use super::schema;
use crate::cli::Arguments;

#[test]
fn each_command_has_help_and_a_documented_output() {
    let groups = ["host", "image", "volume", "root"];
    let commands = Arguments::command();
    let documented = schema::commands();
    for command in
        commands.get_subcommands().filter(|command| !groups.contains(&command.get_name()))
    {
        let name = command.get_name();
        assert!(command.get_about().is_some(), "{name} has no help");
        // Their output is a program's, or none.
        let of_a_program = ["exec", "run", "cp", "console"].contains(&name);
        assert!(of_a_program || documented.contains(&name), "{name} is not in the schema");
        for argument in command.get_arguments() {
            let help = argument.get_help().or(argument.get_long_help());
            assert!(help.is_some(), "{name} {} has no help", argument.get_id());
        }
    }
}

#[test]
fn the_page_on_control_names_each_command_and_each_exit_code() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/control.md");
    let page = std::fs::read_to_string(path).unwrap();
    for command in Arguments::command().get_subcommands() {
        let line = format!("\njailctl {}", command.get_name());
        assert!(page.contains(&line), "{} is not in docs/control.md", command.get_name());
    }
    let help = Arguments::command().render_long_help().to_string();
    let codes = help.split("Exit codes:\n").nth(1).unwrap().lines();
    for (code, meaning) in codes.filter_map(|line| line.trim().split_once("  ")) {
        assert!(page.contains(&format!("| {code} | {meaning} |")), "{code} {meaning}");
    }
}
