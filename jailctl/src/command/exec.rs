//! `exec`: a program in a running jail whose streams and end are ours.

use jailsupd::control::wire::{Request, StartStage, Streams, TerminalSize};
use rustix::fd::OwnedFd;

use super::{Show, results};
use crate::cli::Exec;
use crate::error::Error;
use crate::session::{self, End, Ends};
use crate::varlink::Client;

/// sigaction(2), `si_code` of SIGCHLD.
const CLD_EXITED: i32 = 1;

/// Executes it; the exit code that is to be ours.
pub(super) fn exec(show: &Show<'_>, exec: &Exec) -> Result<u8, Error> {
    let terminal = exec.attach.terminal.then(session::size);
    let request = Request::Exec {
        name: exec.name.clone(),
        command: exec.command.clone(),
        user: exec.user.clone(),
        environment: environment(&exec.environment, terminal),
        working_dir: exec.working_dir.clone(),
        terminal,
        stdin: exec.attach.interactive,
    };
    let ends = open(show, &request)?;
    let end = session::attend(ends, exec.attach.interactive).map_err(Error::Session)?;
    code(&exec.command, end)
}

/// Asks for a session.
pub(super) fn open(show: &Show<'_>, request: &Request) -> Result<Ends, Error> {
    let mut client = Client::send(show.socket, request)?;
    let (reply, fds) = client.receive_with_fds()?;
    ends(&results(reply)?, fds)
}

/// A program on a terminal must know which kind ours is.
pub(super) fn environment(given: &[String], terminal: Option<TerminalSize>) -> Vec<String> {
    let said = given.iter().any(|pair| pair.starts_with("TERM="));
    let ours = std::env::var("TERM").ok().filter(|_| terminal.is_some() && !said);
    ours.map(|term| format!("TERM={term}")).into_iter().chain(given.iter().cloned()).collect()
}

/// The descriptors by their names.
pub(super) fn ends(streams: &Streams, fds: Vec<OwnedFd>) -> Result<Ends, Error> {
    let mut fds: Vec<Option<OwnedFd>> = fds.into_iter().map(Some).collect();
    let mut take = |place: u64| -> Option<OwnedFd> {
        fds.get_mut(usize::try_from(place).ok()?).and_then(Option::take)
    };
    let session = take(streams.session).ok_or(Error::NoDescriptors)?;
    let mut optional = |place: Option<u64>| place.and_then(&mut take);
    Ok(Ends {
        session,
        stdin: optional(streams.stdin),
        stdout: optional(streams.stdout),
        stderr: optional(streams.stderr),
    })
}

/// The program's exit code, or 128 and its signal.
pub(super) fn code(command: &[String], end: End) -> Result<u8, Error> {
    let program = || command.first().cloned().unwrap_or_default();
    match end {
        End::Ended(report) if report.code == CLD_EXITED => {
            Ok(u8::try_from(report.status & 0xff).unwrap_or(u8::MAX))
        }
        End::Ended(report) => Ok(u8::try_from(128 + (report.status & 0x7f)).unwrap_or(u8::MAX)),
        End::Failed(error) if error.stage == StartStage::Exec => {
            let source = std::io::Error::from_raw_os_error(error.errno);
            Err(Error::NotExecuted { program: program(), source })
        }
        End::Failed(error) => Err(Error::not_started(error)),
        End::Lost => Err(Error::Lost { program: program() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jailsupd::control::wire::session::Message;
    use jailsupd::control::wire::{ExitReport, StartError};

    fn ended(code: i32, status: i32) -> End {
        End::Ended(ExitReport { code, status, user_us: 0, system_us: 0, max_rss_kib: 0 })
    }

    fn failed(stage: StartStage, errno: i32) -> u8 {
        code(&["x".into()], End::Failed(StartError { stage, errno })).unwrap_err().code_of_program()
    }

    #[test]
    fn exit_codes_are_passed_on_and_signals_are_128_and_their_number() {
        assert_eq!(code(&[], ended(1, 7)).unwrap(), 7);
        assert_eq!(code(&[], ended(1, 255)).unwrap(), 255);
        assert_eq!(code(&[], ended(2, 9)).unwrap(), 137);
        assert_eq!(code(&[], ended(3, 11)).unwrap(), 139);
    }

    #[test]
    fn what_was_not_executed_has_the_codes_of_a_shell() {
        assert_eq!(failed(StartStage::Exec, 2), 127);
        assert_eq!(failed(StartStage::Exec, 13), 126);
        assert_eq!(failed(StartStage::WorkingDir, 2), 125);
        assert_eq!(code(&[], End::Lost).unwrap_err().code_of_program(), 137);
    }

    #[test]
    fn descriptors_that_did_not_come_are_an_error() {
        let null = || -> OwnedFd { std::fs::File::open("/dev/null").unwrap().into() };
        let streams = Streams { session: 0, stdin: None, stdout: Some(1), stderr: Some(7) };
        let got = ends(&streams, vec![null(), null()]).unwrap();
        assert!(got.stdout.is_some() && got.stderr.is_none() && got.stdin.is_none());
        assert!(matches!(ends(&streams, Vec::new()), Err(Error::NoDescriptors)));
    }

    #[test]
    fn a_record_is_as_long_as_the_documentation_says() {
        assert_eq!(Message::LEN, 40);
    }
}
