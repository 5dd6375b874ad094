//! A small client of QEMU's machine protocol: commands, and the event that tells how a guest ended.
//! Source: docs/interop/qmp-spec.rst of QEMU.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{Error, Result, time::stretched};

/// A monitor answers at once unless the build machine stands still.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// One monitor connection.
pub struct Qmp {
    stream: UnixStream,
    answers: Receiver<Value>,
    shutdown: Receiver<String>,
}

impl Qmp {
    /// Takes QEMU's greeting on `stream` and makes the monitor ready for commands.
    ///
    /// # Errors
    /// The other side is not a QEMU monitor, or is gone.
    pub fn new(stream: UnixStream) -> Result<Self> {
        let reader = stream.try_clone().map_err(Error::io("duplicate the monitor's socket"))?;
        let (answer, answers) = channel();
        let (end, shutdown) = channel();
        thread::spawn(move || sort(BufReader::new(reader), &answer, &end));
        let mut qmp = Self { stream, answers, shutdown };
        qmp.answer("its greeting")?;
        qmp.execute("qmp_capabilities", &json!({}))?;
        Ok(qmp)
    }

    /// Runs one command and gives what it returns.
    ///
    /// # Errors
    /// QEMU refused the command or is gone.
    pub fn execute(&mut self, command: &str, arguments: &Value) -> Result<Value> {
        let line = format!("{}\n", json!({ "execute": command, "arguments": arguments }));
        self.stream
            .write_all(line.as_bytes())
            .map_err(Error::io(format!("send {command} to QEMU")))?;
        let mut answer = self.answer(command)?;
        match answer.get_mut("return") {
            Some(value) => Ok(value.take()),
            None => Err(Error::Answer { peer: "QEMU", answer: answer.to_string() }),
        }
    }

    /// Presses the guest's ACPI power button.
    ///
    /// # Errors
    /// QEMU is gone.
    pub fn press_power_button(&mut self) -> Result<()> {
        self.execute("system_powerdown", &json!({})).map(drop)
    }

    /// Why the guest went down (`guest-shutdown`, `guest-reset`, ...): `None` when QEMU ended
    /// without saying so, or did not end within `limit` (of an idle machine).
    #[must_use]
    pub fn wait_shutdown(&mut self, limit: Duration) -> Option<String> {
        self.shutdown.recv_timeout(stretched(limit)).ok()
    }

    fn answer(&mut self, what: &str) -> Result<Value> {
        self.answers
            .recv_timeout(stretched(ANSWER_LIMIT))
            .map_err(|_| Error::Ended { what: format!("QEMU's answer to {what}") })
    }
}

/// Events go one way, the greeting and answers the other; ends with QEMU.
fn sort(lines: impl BufRead, answers: &Sender<Value>, shutdown: &Sender<String>) {
    for line in lines.lines().map_while(std::result::Result::ok) {
        let Ok(value) = serde_json::from_str::<Value>(&line) else { continue };
        // A receiver that is gone does not stop the other one's messages.
        let _ = match value["event"].as_str() {
            None => answers.send(value).is_ok(),
            Some("SHUTDOWN") => {
                shutdown.send(value["data"]["reason"].as_str().unwrap_or("?").into()).is_ok()
            }
            Some(_) => true,
        };
    }
}
