//! `[health]`: whether a jail does what it is there for, and how that is found out.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::command::{self, LONGEST, LONGEST_ARGUMENT};
use super::section::Reaction;
use super::value::{Fault, FromText, FromToml, Kind, Value, Whole, quoted, shown};

/// Failed checks in a row.
pub type Retries = Whole<1, 1000>;
/// Successful checks in a row.
pub type Successes = Whole<1, 1000>;

/// `[health]`. Names and meanings are those of podman's Quadlet, without `Health`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The program of a check. Of `exec`, `http` and `tcp` at most one is set.
    pub exec: Option<CheckCommand>,
    /// What a check asks for.
    pub http: Option<HttpUrl>,
    /// What a check connects to.
    pub tcp: Option<TcpAddress>,
    /// From the end of a check to the next one.
    pub interval: Duration,
    /// How long a check may take.
    pub timeout: Duration,
    /// Failures in a row that make a jail unhealthy.
    pub retries: Retries,
    /// How long from the start on failures do not count.
    pub start_period: Duration,
    /// What follows then.
    pub on_failure: Reaction,
    /// With it there is a startup probe, and this is its interval.
    pub startup_interval: Option<Duration>,
    /// The program of the startup probe, when it is another.
    pub startup_exec: Option<CheckCommand>,
    /// How long each try of the startup probe may take.
    pub startup_timeout: Duration,
    /// Tries of the startup probe that may fail; none is as many as it takes.
    pub startup_retries: Option<Retries>,
    /// Successes in a row that end it.
    pub startup_success: Successes,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            exec: None,
            http: None,
            tcp: None,
            interval: Duration::from_secs(30),
            timeout: Duration::from_secs(5),
            retries: Retries::clamped(3),
            start_period: Duration::ZERO,
            on_failure: Reaction::Restart,
            startup_interval: None,
            startup_exec: None,
            startup_timeout: Duration::from_secs(5),
            startup_retries: None,
            startup_success: Successes::clamped(1),
        }
    }
}

/// How it is found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check<'a> {
    /// This program ends with 0.
    Exec(&'a CheckCommand),
    /// This address answers with a status of 200 to 399.
    Http(&'a HttpUrl),
    /// This address takes a connection.
    Tcp(&'a TcpAddress),
}

impl Health {
    /// The regular check; none when the unit wants none.
    pub fn check(&self) -> Option<Check<'_>> {
        let (exec, http, tcp) = (self.exec.as_ref(), self.http.as_ref(), self.tcp.as_ref());
        exec.map(Check::Exec).or(http.map(Check::Http)).or(tcp.map(Check::Tcp))
    }

    /// What the startup probe tries.
    pub fn startup_check(&self) -> Option<Check<'_>> {
        self.startup_exec.as_ref().map(Check::Exec).or_else(|| self.check())
    }
}

/// A program and its arguments. Unlike that of `process.exec` it is looked for in `PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckCommand(Vec<String>);

impl CheckCommand {
    /// Program and arguments; never empty, no NUL.
    pub fn words(&self) -> &[String] {
        &self.0
    }
}

impl FromToml for CheckCommand {
    const KIND: Kind = Vec::<String>::KIND;

    fn from_toml(value: &Value<'_>) -> Result<Self, Vec<Fault>> {
        let words = command::words(value)?;
        let fault = match words.first() {
            None => Fault::new("is empty").help("give the program, then its arguments"),
            Some(program) if program.is_empty() => {
                Fault::new("the program is empty").help("give its name or its path in the jail")
            }
            Some(_) if words.iter().any(|word| word.len() > LONGEST_ARGUMENT) => {
                Fault::new("an argument is too long")
                    .help(format!("at most {LONGEST_ARGUMENT} bytes each"))
            }
            Some(_) if words.iter().map(|word| word.len() + 1).sum::<usize>() > LONGEST => {
                Fault::new("the arguments are too long")
                    .help(format!("at most {LONGEST} bytes in all"))
            }
            Some(_) => return Ok(Self(words)),
        };
        Err(fault.alone())
    }

    fn show(&self) -> Option<String> {
        let words: Vec<String> = self.0.iter().map(|word| quoted(word)).collect();
        Some(format!("[{}]", words.join(", ")))
    }
}

/// `http://ADDRESS[:PORT][/PATH]`. There is no name to look up: a check asks the jail's own service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpUrl {
    /// As it is told to the service (`Host:`).
    host: String,
    address: SocketAddr,
    path: String,
}

impl HttpUrl {
    /// Whom to connect to.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The value of the header `Host`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// What to ask for: begins with `/`, holds no blank and nothing but ASCII.
    pub fn path(&self) -> &str {
        &self.path
    }
}

/// Longest path that is asked for.
const PATH_MAX: usize = 1024;

impl FromText for HttpUrl {
    const KIND: Kind = Kind::text("URL", "^[hH][tT][tT][pP]://[^/?#]+(/[!-~]*)?$");

    fn from_text(text: &str) -> Result<Self, Fault> {
        let help = "such as \"http://127.0.0.1/\" or \"http://127.0.0.1:8080/healthz\"; for TLS use `tcp`, or a program with `exec`";
        let wrong = |message: String| Fault::new(message).help(help);
        let scheme = text.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("http://"));
        let Some(rest) = scheme.map(|scheme| &text[scheme.len()..]) else {
            let message = match text.get(..8) {
                Some(scheme) if scheme.eq_ignore_ascii_case("https://") => {
                    format!("{} asks by TLS, which no check can", shown(text))
                }
                _ => format!("{} is not a URL of http", shown(text)),
            };
            return Err(wrong(message));
        };
        let (authority, path) = match rest.find(['/', '?', '#']) {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        if !path.starts_with('/') || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(wrong(format!("{} is not a path of a URL", shown(path))));
        }
        if path.contains('#') || path.len() > PATH_MAX {
            return Err(wrong(format!("{} cannot be asked for", shown(path))));
        }
        let address = socket_address(authority, Some(80))?;
        let host = authority.to_ascii_lowercase();
        Ok(Self { host, address, path: path.to_owned() })
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.host, self.path)
    }
}

/// `ADDRESS:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpAddress {
    text: String,
    address: SocketAddr,
}

impl TcpAddress {
    /// Whom to connect to.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl FromText for TcpAddress {
    const KIND: Kind = Kind::text("address:port", "^[0-9a-zA-Z:.\\[\\]]+:[0-9]+$");

    fn from_text(text: &str) -> Result<Self, Fault> {
        let address = socket_address(text, None)?;
        Ok(Self { text: text.to_ascii_lowercase(), address })
    }
}

impl fmt::Display for TcpAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// `ADDRESS:PORT` or, where there is a usual port, `ADDRESS`.
fn socket_address(text: &str, usual: Option<u16>) -> Result<SocketAddr, Fault> {
    // A colon inside brackets is the address's own.
    let (address, port) = match text.rsplit_once(':').filter(|(_, end)| !end.contains(']')) {
        Some((address, port)) => (address, Some(port)),
        None => (text, None),
    };
    let ip = ip(address).ok_or_else(|| {
        Fault::new(format!("{} is not an address", shown(address))).help(
            "names are not looked up: give an address of the jail, such as 127.0.0.1 or [::1], or `localhost`",
        )
    })?;
    let digits = |port: &&str| port.bytes().all(|byte| byte.is_ascii_digit());
    let number = |port: &str| Some(port).filter(digits)?.parse().ok().filter(|port| *port != 0);
    let port = match port {
        Some(port) => number(port).ok_or_else(|| {
            Fault::new(format!("{} is not a port", shown(port)))
                .help("give a number from 1 to 65535")
        })?,
        None => usual.ok_or_else(|| {
            Fault::new(format!("{} has no port", shown(text)))
                .help(format!("such as \"{text}:5432\""))
        })?,
    };
    Ok(SocketAddr::new(ip, port))
}

/// An address of version 6 in brackets, as in a URL.
fn ip(text: &str) -> Option<IpAddr> {
    if text.eq_ignore_ascii_case("localhost") {
        return Some(Ipv4Addr::LOCALHOST.into());
    }
    match text.strip_prefix('[').map(|rest| rest.strip_suffix(']')) {
        Some(inner) => Some(IpAddr::V6(inner?.parse().ok()?)),
        None => Some(IpAddr::V4(text.parse().ok()?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_with_their_ports() {
        let url = |text| HttpUrl::from_text(text).unwrap();
        assert_eq!(url("http://127.0.0.1").to_string(), "http://127.0.0.1/");
        assert_eq!(url("HTTP://LocalHost/a?b=c").address(), "127.0.0.1:80".parse().unwrap());
        assert_eq!(url("http://[::1]:8080/x").address(), "[::1]:8080".parse().unwrap());
        assert_eq!((url("http://[::1]/").host(), url("http://[::1]/").path()), ("[::1]", "/"));
        let tcp = TcpAddress::from_text("[::1]:5432").unwrap();
        assert_eq!(tcp.address(), "[::1]:5432".parse().unwrap());
    }

    #[test]
    fn what_cannot_be_asked_is_refused() {
        for text in [
            "127.0.0.1/",
            "https://127.0.0.1/",
            "http://",
            "http://example.org/",
            "http://127.0.0.1:0/",
            "http://127.0.0.1:99999/",
            "http://127.0.0.1:+80/",
            "http://u@127.0.0.1/",
            "http://127.0.0.1/a b",
            "http://127.0.0.1/\r\nX: y",
            "http://127.0.0.1/#part",
            "http://127.0.0.1?a",
            "http://::1/",
            "http://[127.0.0.1]/",
            "http:/\u{e9}/127.0.0.1",
        ] {
            assert!(HttpUrl::from_text(text).is_err(), "{text}");
        }
        for text in ["127.0.0.1", "5432", ":5432", "[::1]", "::1:5432", "127.0.0.1:x"] {
            assert!(TcpAddress::from_text(text).is_err(), "{text}");
        }
    }
}
