//! The test agent of the debug image: does what the harness asks over virtio-serial, one call at a
//! time. Not on the production image.

#![forbid(unsafe_code)]

use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use qemu_tests::proto::{Answer, Call, Output, PORT, Reply, Request, Status};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, pidfd_open},
};

/// The kernel tells nobody when a port has got its name or its host side: both are looked for again
/// after this long.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

fn main() -> io::Result<()> {
    let device = loop {
        if let Some(device) = find_port() {
            break device;
        }
        thread::sleep(LOOK_AGAIN);
    };
    let port = fs::File::options().read(true).write(true).open(device)?;
    let mut answers = port.try_clone()?;
    let mut calls = BufReader::new(port);
    let mut line = String::new();
    loop {
        line.clear();
        if calls.read_line(&mut line)? == 0 {
            thread::sleep(LOOK_AGAIN);
            continue;
        }
        let Ok(Call { id, request }) = serde_json::from_str(&line) else { continue };
        let reply = perform(request).unwrap_or_else(|error| Reply::Refused(error.to_string()));
        let mut answer = serde_json::to_vec(&Answer { id, reply })?;
        answer.push(b'\n');
        answers.write_all(&answer)?;
    }
}

fn find_port() -> Option<PathBuf> {
    let ports = fs::read_dir("/sys/class/virtio-ports").ok()?;
    let named = |dir: &PathBuf| {
        fs::read_to_string(dir.join("name")).is_ok_and(|name| name.trim_end() == PORT)
    };
    let dir = ports.filter_map(Result::ok).map(|entry| entry.path()).find(named)?;
    Some(PathBuf::from("/dev").join(dir.file_name()?))
}

fn perform(request: Request) -> io::Result<Reply> {
    Ok(match request {
        Request::Ping(nonce) => Reply::Pong(nonce),
        Request::Exec { argv, ids, stdin, timeout_ms } => {
            Reply::Output(exec(&argv, ids, stdin, Duration::from_millis(timeout_ms))?)
        }
        Request::Read(path) => {
            Reply::Content(String::from_utf8_lossy(&fs::read(path)?).into_owned())
        }
        Request::Write { path, content } => {
            fs::write(path, content)?;
            Reply::Done
        }
    })
}

fn exec(
    argv: &[String],
    (uid, gid): (u32, u32),
    stdin: String,
    timeout: Duration,
) -> io::Result<Output> {
    let (program, arguments) =
        argv.split_first().ok_or_else(|| io::Error::other("argv is empty"))?;
    let mut child = Command::new(program)
        .args(arguments)
        .uid(uid)
        .gid(gid)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut input = child.stdin.take();
    // A program that closes its input early is no error.
    let writer = thread::spawn(move || {
        input.take().map(|mut input| input.write_all(stdin.as_bytes())).is_some()
    });
    let stdout = collect(child.stdout.take());
    let stderr = collect(child.stderr.take());
    let ended = wait(&child, timeout)?;
    if !ended {
        child.kill()?;
    }
    let end = child.wait()?;
    let status = match (ended, end.code(), end.signal()) {
        (false, ..) => Status::TimedOut,
        (true, Some(code), _) => Status::Exit(code),
        (true, None, signal) => Status::Signal(signal.unwrap_or(0)),
    };
    let text = |reader: thread::JoinHandle<String>| reader.join().unwrap_or_default();
    let output = Output { status, stdout: text(stdout), stderr: text(stderr) };
    let _ = writer.join();
    Ok(output)
}

/// False when `child` still runs after `timeout`.
fn wait(child: &Child, timeout: Duration) -> io::Result<bool> {
    let pidfd = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let timeout = Timespec::try_from(timeout).map_err(io::Error::other)?;
    Ok(poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout))? > 0)
}

fn collect(stream: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            let _ = stream.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
