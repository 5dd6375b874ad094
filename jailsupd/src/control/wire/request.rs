//! Calls and refusals as types.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Call, JailState, TerminalSize, UnitDraft, WireError, parameters};

/// Every method that jailsupd serves, with its parameters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "method", content = "parameters")]
pub enum Request {
    /// Who serves this socket.
    #[serde(rename = "org.varlink.service.GetInfo")]
    GetInfo {},
    /// The text of an interface.
    #[serde(rename = "org.varlink.service.GetInterfaceDescription")]
    GetInterfaceDescription {
        /// Its name.
        interface: String,
    },
    /// All jails.
    #[serde(rename = "org.warder.Jails.List")]
    List {},
    /// Everything about one jail.
    #[serde(rename = "org.warder.Jails.Inspect")]
    Inspect {
        /// The jail.
        name: String,
    },
    /// The logs of jails, ordered by time; a call with `more`.
    #[serde(rename = "org.warder.Jails.Logs")]
    Logs {
        /// A jail: what clients said when there was one for each call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// The jails; all of them when this and `name` are missing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        names: Option<Vec<String>>,
        /// Only the last so many lines of what is there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lines: Option<u64>,
        /// Go on with new lines until the client hangs up.
        #[serde(default)]
        follow: bool,
        /// Only lines read at or after this time, in milliseconds since 1970.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<u64>,
        /// Only lines read not after this time.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<u64>,
        /// The kernel's log, too; when it is missing, only beside that of all jails.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kernel: Option<bool>,
    },
    /// Start a jail: it is wanted until it is stopped. Reached when it is up, or did not come up.
    #[serde(rename = "org.warder.Jails.Start")]
    Start {
        /// The jail.
        name: String,
        /// Answer only when that state is reached.
        #[serde(default = "yes")]
        wait: bool,
    },
    /// Stop a jail; it stays down until it is started, its unit changes or the host boots.
    #[serde(rename = "org.warder.Jails.Stop")]
    Stop {
        /// The jail.
        name: String,
        /// Answer only when that state is reached.
        #[serde(default = "yes")]
        wait: bool,
    },
    /// Stop a jail, then start it.
    #[serde(rename = "org.warder.Jails.Restart")]
    Restart {
        /// The jail.
        name: String,
        /// Answer only when that state is reached.
        #[serde(default = "yes")]
        wait: bool,
    },
    /// Send a signal to the jail's program; SIGKILL to all its processes at once.
    /// Reached when the signal is sent; of SIGKILL when no process is left.
    #[serde(rename = "org.warder.Jails.Kill")]
    Kill {
        /// The jail.
        name: String,
        /// By the names of signal(7).
        #[serde(default = "sigkill")]
        signal: String,
        /// Answer only when that state is reached.
        #[serde(default = "yes")]
        wait: bool,
    },
    /// Hold all processes of a jail where they are.
    #[serde(rename = "org.warder.Jails.Freeze")]
    Freeze {
        /// The jail.
        name: String,
        /// Answer only when that state is reached.
        #[serde(default = "yes")]
        wait: bool,
    },
    /// Let the processes of a frozen jail go on.
    #[serde(rename = "org.warder.Jails.Thaw")]
    Thaw {
        /// The jail.
        name: String,
        /// Answer only when that state is reached.
        #[serde(default = "yes")]
        wait: bool,
    },
    /// Wait until a jail is in a state.
    #[serde(rename = "org.warder.Jails.Wait")]
    Wait {
        /// The jail.
        name: String,
        /// The state.
        state: JailState,
        /// Be refused after so many milliseconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timeout_ms: Option<u64>,
    },
    /// Find all problems of these units; of all the host's files when there are none.
    #[serde(rename = "org.warder.Jails.Check")]
    Check {
        /// Units that are not there yet, or other versions of those that are.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        units: Vec<UnitDraft>,
    },
    /// Tell what would follow from the files as they are now, these units among them.
    #[serde(rename = "org.warder.Jails.Plan")]
    Plan {
        /// Units that are not there yet, or other versions of those that are.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        units: Vec<UnitDraft>,
    },
    /// Look at all files now, and do what follows from them.
    #[serde(rename = "org.warder.Jails.Apply")]
    Apply {
        /// Answer only when no jail is on its way to another state.
        #[serde(default = "yes")]
        wait: bool,
    },
    /// The files that a jail's unit is made from.
    #[serde(rename = "org.warder.Jails.Cat")]
    Cat {
        /// The jail.
        name: String,
    },
    /// Check a unit, then write it to /etc/jails.d in one step.
    #[serde(rename = "org.warder.Jails.Put")]
    Put {
        /// The file's name without `.toml`.
        stem: String,
        /// The file's new text.
        text: String,
        /// Only when the unit file in force (see `Cat`) has this hash; empty: only when there is none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expect_hash: Option<String>,
    },
    /// Delete a unit file from /etc/jails.d.
    #[serde(rename = "org.warder.Jails.Delete")]
    Delete {
        /// The file's name without `.toml`.
        stem: String,
    },
    /// Let a jail be started at boot and when its unit changes. Starts it.
    #[serde(rename = "org.warder.Jails.Enable")]
    Enable {
        /// The jail.
        name: String,
    },
    /// Keep a jail from being started but by hand, or for a jail that needs it. Stops it.
    #[serde(rename = "org.warder.Jails.Disable")]
    Disable {
        /// The jail.
        name: String,
    },
    /// Keep a jail from being started at all. Stops it.
    #[serde(rename = "org.warder.Jails.Mask")]
    Mask {
        /// The jail.
        name: String,
    },
    /// Undo a mask.
    #[serde(rename = "org.warder.Jails.Unmask")]
    Unmask {
        /// The jail.
        name: String,
    },
    /// Execute one more program in a running jail. The reply brings descriptors.
    #[serde(rename = "org.warder.Jails.Exec")]
    Exec {
        /// The jail.
        name: String,
        /// The program and its arguments; a name without a slash is looked for in `PATH`.
        command: Vec<String>,
        /// Whom it runs as, `USER` or `USER:GROUP`; missing: as the jail's program.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<String>,
        /// `NAME=value`, beside what the jail's program has.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        environment: Vec<String>,
        /// Where it starts; missing: as the jail's program.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        working_dir: Option<String>,
        /// Give it a terminal of this size; missing: pipes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        terminal: Option<TerminalSize>,
        /// Standard input is a pipe as well, and not /dev/null.
        #[serde(default)]
        stdin: bool,
    },
    /// Attach to the terminal of a jail's program; a call with `more`. The first reply brings descriptors.
    #[serde(rename = "org.warder.Jails.Console")]
    Console {
        /// The jail.
        name: String,
    },
    /// Run a jail for one program, with its streams; a call with `more`. The first reply brings descriptors.
    #[serde(rename = "org.warder.Jails.Run")]
    Run {
        /// The jail's unit, as text.
        unit: String,
        /// Its name; missing: one that nothing has.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// As for `Exec`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        terminal: Option<TerminalSize>,
        /// As for `Exec`.
        #[serde(default)]
        stdin: bool,
    },
    /// Read a file or directory of a running jail. The reply brings descriptors.
    #[serde(rename = "org.warder.Jails.CopyFrom")]
    CopyFrom {
        /// The jail.
        name: String,
        /// Where it is in the jail.
        path: String,
        /// Who reads it, as for `Exec`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<String>,
    },
    /// Write a file or directory into a running jail. The reply brings descriptors.
    #[serde(rename = "org.warder.Jails.CopyTo")]
    CopyTo {
        /// The jail.
        name: String,
        /// Where to put it in the jail.
        path: String,
        /// What to call it when `path` is a directory.
        base: String,
        /// Who writes it, as for `Exec`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<String>,
    },
    /// What unit files may say.
    #[serde(rename = "org.warder.Jails.Explain")]
    Explain {
        /// Only this key, or all keys of this table.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// The JSON Schema of unit files.
    #[serde(rename = "org.warder.Jails.Schema")]
    Schema {},
    /// What happened to jails; a call with `more`.
    #[serde(rename = "org.warder.Jails.Events")]
    Events {
        /// Go on with new events until the client hangs up.
        #[serde(default)]
        follow: bool,
        /// Only of this jail.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// Only the last so many of what is there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lines: Option<u64>,
    },
    /// Why a jail is in its state.
    #[serde(rename = "org.warder.Jails.Why")]
    Why {
        /// The jail.
        name: String,
    },
    /// The processes of all jails.
    #[serde(rename = "org.warder.Jails.Processes")]
    Processes {
        /// Only of this jail.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    },
    /// What the jails that run use.
    #[serde(rename = "org.warder.Jails.Stats")]
    Stats {
        /// Only of this jail.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// With its processes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        processes: Option<bool>,
    },
    /// What the host is and how it booted.
    #[serde(rename = "org.warder.Host.Info")]
    HostInfo {},
    /// Stop all jails, then turn the host off.
    #[serde(rename = "org.warder.Host.PowerOff")]
    PowerOff {},
    /// Stop all jails, then boot the host anew.
    #[serde(rename = "org.warder.Host.Reboot")]
    Reboot {},
    /// Have PID 1 execute its program anew, with all that it holds. Jails and jailsupd run on.
    #[serde(rename = "org.warder.Host.Reexec")]
    Reexec {},
    /// Links, addresses and routes of the host and of all jails.
    #[serde(rename = "org.warder.Network.Show")]
    ShowNetwork {},
    /// Why a jail is not reached.
    #[serde(rename = "org.warder.Network.Doctor")]
    Doctor {
        /// The jail.
        name: String,
    },
    /// All volumes.
    #[serde(rename = "org.warder.Storage.ListVolumes")]
    ListVolumes {},
    /// One volume.
    #[serde(rename = "org.warder.Storage.InspectVolume")]
    InspectVolume {
        /// The volume.
        name: String,
    },
    /// All images.
    #[serde(rename = "org.warder.Storage.ListImages")]
    ListImages {},
    /// One image.
    #[serde(rename = "org.warder.Storage.InspectImage")]
    InspectImage {
        /// Its name or digest.
        image: String,
    },
    /// Import a file or directory of the host; a call with `more`.
    #[serde(rename = "org.warder.Storage.ImportImage")]
    ImportImage {
        /// Absolute.
        path: String,
        /// The name that it gets.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    },
    /// Give an image a further name.
    #[serde(rename = "org.warder.Storage.TagImage")]
    TagImage {
        /// Its name or digest.
        image: String,
        /// The further name.
        name: String,
    },
    /// Remove a name of an image, and with its last name the image.
    #[serde(rename = "org.warder.Storage.RemoveImage")]
    RemoveImage {
        /// Its name or digest.
        image: String,
    },
    /// Remove all images that have no name and are no jail's.
    #[serde(rename = "org.warder.Storage.CollectImages")]
    CollectImages {},
    /// The roots of all persistent jails.
    #[serde(rename = "org.warder.Storage.ListRoots")]
    ListRoots {},
    /// Remove the root of a persistent jail.
    #[serde(rename = "org.warder.Storage.RemoveRoot")]
    RemoveRoot {
        /// The jail.
        jail: String,
    },
    /// Remove a volume with all that is in it.
    #[serde(rename = "org.warder.Storage.RemoveVolume")]
    RemoveVolume {
        /// The volume.
        name: String,
    },
}

const fn yes() -> bool {
    true
}

fn sigkill() -> String {
    "SIGKILL".to_owned()
}

impl Request {
    /// Reads a call.
    ///
    /// # Errors
    /// The refusal to answer with: no such interface or method, a parameter missing or of the wrong type, or a
    /// call without `more` of a method that needs it.
    pub fn from_call(call: &Call) -> Result<Self, WireError> {
        let (interface, _) = call.method.rsplit_once('.').unwrap_or_default();
        let known = super::INTERFACES.iter().find(|(name, _)| *name == interface);
        let Some((_, text)) = known else {
            return Err(WireError::InterfaceNotFound { interface: interface.to_owned() });
        };
        let method = call.method.rsplit('.').next().unwrap_or_default();
        let head = format!("method {method}(");
        let Some(takes) = text.lines().find_map(|line| line.strip_prefix(&head)) else {
            return Err(WireError::MethodNotFound { method: call.method.clone() });
        };
        // In Varlink null is the same as missing.
        let mut given = call.parameters.clone();
        given.retain(|_, value| !value.is_null());
        let wrong = || WireError::InvalidParameter { parameter: wrong_one(takes, &given) };
        let tagged = serde_json::json!({ "method": call.method, "parameters": given });
        let request: Self = serde_json::from_value(tagged).map_err(|_| wrong())?;
        if request.needs_more() && !call.more {
            return Err(WireError::ExpectedMore);
        }
        Ok(request)
    }

    /// The call that asks for this.
    pub fn to_call(&self) -> Call {
        let mut tagged = parameters(self);
        let method = tagged.get("method").and_then(Value::as_str).unwrap_or_default().to_owned();
        let parameters = match tagged.remove("parameters") {
            Some(Value::Object(map)) => map,
            _ => Map::new(),
        };
        Call { method, parameters, more: self.needs_more(), oneway: false }
    }

    /// Whether there is more than one reply to it.
    pub const fn needs_more(&self) -> bool {
        matches!(
            self,
            Self::Logs { .. }
                | Self::Events { .. }
                | Self::ImportImage { .. }
                | Self::Run { .. }
                | Self::Console { .. }
        )
    }

    /// Whether it only looks. What is not named here changes something, and is for root.
    pub const fn is_read_only(&self) -> bool {
        matches!(
            self,
            Self::GetInfo {}
                | Self::GetInterfaceDescription { .. }
                | Self::List {}
                | Self::Inspect { .. }
                | Self::Logs { .. }
                | Self::Wait { .. }
                | Self::Check { .. }
                | Self::Plan { .. }
                | Self::Cat { .. }
                | Self::Explain { .. }
                | Self::Schema {}
                | Self::Events { .. }
                | Self::Why { .. }
                | Self::Processes { .. }
                | Self::Stats { .. }
                | Self::HostInfo {}
                | Self::ListImages {}
                | Self::InspectImage { .. }
                | Self::ListVolumes {}
                | Self::ListRoots {}
                | Self::InspectVolume { .. }
                | Self::ShowNetwork {}
                | Self::Doctor { .. }
        )
    }
}

/// The parameter that is missing or of the wrong type. `takes` is what follows the method's `(`, on one line;
/// a value of a type of ours is wrong when all others are right.
fn wrong_one(takes: &str, given: &Map<String, Value>) -> String {
    let declared = takes.split_once(')').map_or(takes, |(inside, _)| inside);
    let mut ours = "";
    for (name, kind) in declared.split(", ").filter_map(|field| field.split_once(": ")) {
        let fits = match (kind.trim_start_matches('?'), given.get(name)) {
            (_, None) => kind.starts_with('?'),
            ("string", Some(value)) => value.is_string(),
            ("bool", Some(value)) => value.is_boolean(),
            ("int", Some(value)) => value.is_u64(),
            (list, Some(value)) if list.starts_with("[]") && !value.is_array() => false,
            (_, Some(_)) => {
                ours = name;
                true
            }
        };
        if !fits {
            return name.to_owned();
        }
    }
    ours.to_owned()
}
