//! The harness's side of the agent in the debug image.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    time::Duration,
};

use crate::{
    Error, Result,
    proto::{Answer, Call, Output, Reply, Request, Status},
    time::{Deadline, stretched},
};

/// A program in the guest that says nothing for this long hangs (idle machine).
const EXEC_LIMIT: Duration = Duration::from_secs(20);
/// How much longer than the guest's own limit its answer is waited for.
const GRACE: Duration = Duration::from_secs(5);

/// A connection to the agent.
pub struct Agent {
    stream: BufReader<UnixStream>,
    last: u64,
}

impl Agent {
    pub(crate) fn new(stream: UnixStream) -> Self {
        Self { stream: BufReader::new(stream), last: 0 }
    }

    /// Has the guest say a number back; also how to wait until the agent is up.
    ///
    /// # Errors
    /// No or another answer within `limit` (of an idle machine).
    pub fn ping(&mut self, limit: Duration) -> Result<()> {
        let nonce = nonce();
        match self.call(Request::Ping(nonce), Deadline::after(limit))? {
            Reply::Pong(answer) if answer == nonce => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Runs a program on the guest's host side, as root. It must not leave children behind that
    /// hold its standard output.
    ///
    /// # Errors
    /// The agent is gone or cannot start the program; how the program ended is no error.
    pub fn run(&mut self, argv: &[&str]) -> Result<Output> {
        self.run_as((0, 0), argv)
    }

    /// [`Self::run`] as this user and group, without supplementary groups.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_as(&mut self, ids: (u32, u32), argv: &[&str]) -> Result<Output> {
        let timeout = stretched(EXEC_LIMIT);
        let request = Request::Exec {
            argv: argv.iter().map(ToString::to_string).collect(),
            ids,
            stdin: String::new(),
            timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
        };
        match self.call(request, Deadline::after(EXEC_LIMIT + GRACE))? {
            Reply::Output(output) => Ok(output),
            other => Err(unexpected(&other)),
        }
    }

    /// As [`Self::run`]: standard output of a program that must succeed.
    ///
    /// # Errors
    /// Also when the program failed.
    pub fn output(&mut self, argv: &[&str]) -> Result<String> {
        let output = self.run(argv)?;
        if output.status == Status::Exit(0) {
            return Ok(output.stdout);
        }
        Err(Error::Tool {
            command: format!("(guest) {}", argv.join(" ")),
            status: format!("{:?}", output.status),
            output: output.stdout + &output.stderr,
        })
    }

    /// [`Self::output`] of a shell script, run by the debug image's busybox.
    ///
    /// # Errors
    /// As [`Self::output`].
    pub fn shell(&mut self, script: &str) -> Result<String> {
        self.output(&["/usr/bin/busybox", "sh", "-c", script])
    }

    /// A whole file of the guest.
    ///
    /// # Errors
    /// The agent is gone or cannot read it.
    pub fn read(&mut self, path: &str) -> Result<String> {
        match self.call(Request::Read(path.into()), Deadline::after(EXEC_LIMIT))? {
            Reply::Content(content) => Ok(content),
            other => Err(unexpected(&other)),
        }
    }

    /// Makes or replaces a file of the guest.
    ///
    /// # Errors
    /// The agent is gone or cannot write it.
    pub fn write(&mut self, path: &str, content: &str) -> Result<()> {
        let request = Request::Write { path: path.into(), content: content.into() };
        match self.call(request, Deadline::after(EXEC_LIMIT))? {
            Reply::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    fn call(&mut self, request: Request, deadline: Deadline) -> Result<Reply> {
        self.last += 1;
        let what = format!("the agent's answer to {request:?}");
        let mut line = serde_json::to_vec(&Call { id: self.last, request })
            .map_err(|error| Error::Answer { peer: "serde_json", answer: error.to_string() })?;
        line.push(b'\n');
        self.stream
            .get_mut()
            .write_all(&line)
            .map_err(Error::io("send a call to the guest's agent"))?;
        loop {
            let Answer { id, reply } = self.answer(&what, deadline)?;
            if id == self.last {
                return Ok(reply);
            }
        }
    }

    fn answer(&mut self, what: &str, deadline: Deadline) -> Result<Answer> {
        let Some(left) = deadline.left() else {
            return Err(Error::Timeout { what: what.into(), limit: deadline.limit });
        };
        let mut line = String::new();
        self.stream
            .get_ref()
            .set_read_timeout(Some(left))
            .map_err(Error::io("set a time limit on the agent's socket"))?;
        match self.stream.read_line(&mut line) {
            Ok(0) => return Err(Error::Ended { what: what.into() }),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                return Err(Error::Timeout { what: what.into(), limit: deadline.limit });
            }
            Err(error) => return Err(Error::io("read from the guest's agent")(error)),
        }
        serde_json::from_str(&line)
            .map_err(|_| Error::Answer { peer: "the guest's agent", answer: line })
    }
}

fn unexpected(reply: &Reply) -> Error {
    Error::Answer { peer: "the guest's agent", answer: format!("{reply:?}") }
}

/// A number that no old answer can hold: the time in nanoseconds.
fn nonce() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_nanos()).unwrap_or(u64::MAX))
}
