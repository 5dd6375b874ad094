//! `run`: a jail for one program, in the foreground and gone afterwards. Its unit is written here, and checked
//! and kept by jailsupd like any other.

use std::fmt::Write as _;

use jailsupd::control::wire::{
    ImageInspected, Inspected, Ran, Request, StartStage, Streams, WireError,
};

use super::exec::{code, ends, environment};
use super::{Show, results};
use crate::cli::Run;
use crate::error::Error;
use crate::session::{self, End};
use crate::varlink::{self, Client};

/// Runs it; the exit code that is to be ours.
pub(super) fn run(show: &Show<'_>, run: &Run) -> Result<u8, Error> {
    let terminal = run.attach.terminal.then(session::size);
    let environment = environment(&run.environment, terminal);
    let unit = unit(run, &image(show, &run.image)?, &environment)?;
    let request =
        Request::Run { unit, name: run.name.clone(), terminal, stdin: run.attach.interactive };
    let mut client = Client::send(show.socket, &request)?;
    let (reply, fds) = client.receive_with_fds()?;
    let ran: Ran = results(reply)?;
    let session = ran.session.ok_or(Error::NoDescriptors)?;
    let (stdin, stdout, stderr) = (ran.stdin, ran.stdout, ran.stderr);
    let ends = ends(&Streams { session, stdin, stdout, stderr }, fds)?;
    let end = session::attend(ends, run.attach.interactive).map_err(Error::Session)?;
    // The jail is gone only now; a jailsupd that was replaced meanwhile cannot say so.
    let last = client.receive().and_then(results::<Ran>);
    let problem = last.ok().and_then(|ran| ran.problem);
    match (end, problem) {
        // The program was never there; only jailsupd knows why.
        (End::Lost, Some(problem)) => Err(Error::NotRun { problem }),
        (End::Failed(error), Some(problem)) if error.stage != StartStage::Exec => {
            Err(Error::NotRun { problem })
        }
        (end, _) => code(&run.command, end),
    }
}

/// What follows `KIND:`, else the image of the jail of that name, else the imported image.
fn image(show: &Show<'_>, image: &str) -> Result<String, Error> {
    if image.contains(':') {
        return Ok(image.to_owned());
    }
    let request = Request::Inspect { name: image.to_owned() };
    let inspected = results::<Inspected>(varlink::call(show.socket, &request)?);
    let nearest = match inspected {
        Ok(inspected) => return Ok(inspected.jail.image),
        Err(Error::Refused(WireError::NoSuchJail { nearest, .. })) => nearest,
        Err(error) => return Err(error),
    };
    let request = Request::InspectImage { image: image.to_owned() };
    match results::<ImageInspected>(varlink::call(show.socket, &request)?) {
        Ok(_) => Ok(format!("image:{image}")),
        Err(Error::Refused(WireError::NoSuchImage { nearest: other, .. })) => {
            Err(Error::NoSuchImage { name: image.to_owned(), nearest: nearest.or(other) })
        }
        Err(error) => Err(error),
    }
}

/// The unit's text. Strings are written as TOML takes them, so that none can become a key.
fn unit(run: &Run, image: &str, environment: &[String]) -> Result<String, Error> {
    let mut text = String::from("version = 1\n");
    let mut line = |line: String| {
        let _ = writeln!(text, "{line}");
    };
    line(format!("[image]\nsource = {}", quoted(image)));
    let command: Vec<String> = run.command.iter().map(|word| quoted(word)).collect();
    line(format!("[process]\nexec = [{}]", command.join(", ")));
    if let Some(user) = &run.user {
        match user.split_once(':') {
            Some((user, group)) => {
                line(format!("user = {}\ngroup = {}", quoted(user), quoted(group)));
            }
            None => line(format!("user = {}", quoted(user))),
        }
    }
    if let Some(directory) = &run.working_dir {
        line(format!("working_dir = {}", quoted(directory)));
    }
    let mut pairs = Vec::new();
    for pair in environment {
        let (name, value) = pair.split_once('=').ok_or_else(|| wrong("-e", pair))?;
        // The last one of a name counts, as a shell has it.
        pairs.retain(|(other, _)| *other != name);
        pairs.push((name, value));
    }
    let pairs: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{} = {}", quoted(name), quoted(value))).collect();
    line(format!("environment = {{ {} }}", pairs.join(", ")));
    line(format!("[network]\nmode = {}", quoted(&run.network)));
    if let Some(memory) = &run.memory {
        line(format!("[resources]\nmemory_max = {}", quoted(memory)));
    }
    line("[restart]\npolicy = \"no\"".to_owned());
    for volume in &run.volumes {
        line(volume_of(volume)?);
    }
    Ok(text)
}

/// `SOURCE:DESTINATION[:ro]`; a source without a slash is the name of a volume.
fn volume_of(text: &str) -> Result<String, Error> {
    let mut parts = text.split(':');
    let (Some(source), Some(path), option, None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(wrong("-v", text));
    };
    let read_only = match option {
        None | Some("rw") => false,
        Some("ro") => true,
        Some(_) => return Err(wrong("-v", text)),
    };
    let key = if source.contains('/') { "source" } else { "name" };
    let (source, path) = (quoted(source), quoted(path));
    Ok(format!("[[volume]]\n{key} = {source}\npath = {path}\nread_only = {read_only}"))
}

fn wrong(option: &'static str, value: &str) -> Error {
    Error::Option { option, value: value.to_owned() }
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(c);
            }
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Arguments, Command};
    use clap::Parser as _;

    fn parsed(words: &[&str]) -> Run {
        let words = ["jailctl", "run"].iter().chain(words);
        match Arguments::try_parse_from(words).unwrap().command {
            Command::Run(run) => run,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn options_become_keys() {
        let run = parsed(&[
            "-it",
            "--rm",
            "-v",
            "/srv/x:/data:ro",
            "-v",
            "www:/www",
            "--network",
            "none",
            "-e",
            "A=1",
            "-e",
            "A=b \"c\"",
            "-u",
            "33:44",
            "-w",
            "/tmp",
            "--memory",
            "64M",
            "erofs:/x.erofs",
            "/bin/a",
            "-b",
            "\u{1b}\\",
        ]);
        assert!(run.attach.terminal && run.attach.interactive);
        let text = unit(&run, &run.image, &run.environment).unwrap();
        assert_eq!(
            text,
            "version = 1\n[image]\nsource = \"erofs:/x.erofs\"\n[process]\n\
             exec = [\"/bin/a\", \"-b\", \"\\u001B\\\\\"]\nuser = \"33\"\ngroup = \"44\"\nworking_dir = \"/tmp\"\n\
             environment = { \"A\" = \"b \\\"c\\\"\" }\n[network]\nmode = \"none\"\n[resources]\nmemory_max = \"64M\"\n\
             [restart]\npolicy = \"no\"\n\
             [[volume]]\nsource = \"/srv/x\"\npath = \"/data\"\nread_only = true\n\
             [[volume]]\nname = \"www\"\npath = \"/www\"\nread_only = false\n"
        );
    }

    #[test]
    fn options_that_cannot_be_read_are_named() {
        for volume in ["/only", "/a:/b:rx", "/a:/b:ro:x"] {
            assert!(
                matches!(volume_of(volume), Err(Error::Option { option: "-v", .. })),
                "{volume}"
            );
        }
        let run = parsed(&["-e", "A", "web", "/bin/a"]);
        let error = unit(&run, "erofs:/x", &run.environment).unwrap_err();
        assert_eq!(error.to_string(), "`A` is nothing that -e takes");
    }
}
