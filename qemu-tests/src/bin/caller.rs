//! A client of jailsupd that sends more calls than anybody should. The tests run it in the guest as a member of the
//! group `jails`.

#![forbid(unsafe_code)]

use std::{
    io::{self, Read as _, Write as _},
    net::Shutdown,
    os::unix::net::UnixStream,
};

use jailsupd::control::wire::{JailState, Request, SOCKET, encode};

/// More than that nobody should take.
const FLOOD: usize = 64 << 20;

fn main() -> io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["ahead", jail] => ahead(jail),
        ["many", count] => many(count.parse().map_err(io::Error::other)?),
        _ => Err(io::Error::other("usage: caller ahead JAIL | many COUNT")),
    }
}

/// Waits for what never comes, and sends calls meanwhile until they are not taken any more.
fn ahead(jail: &str) -> io::Result<()> {
    let mut stream = UnixStream::connect(SOCKET)?;
    let wait = Request::Wait { name: jail.to_owned(), state: JailState::Failed, timeout_ms: None };
    stream.write_all(&encode(&wait.to_call()))?;
    let block = encode(&Request::List {}.to_call()).repeat(1000);
    let mut sent = 0;
    while sent < FLOOD {
        if let Err(error) = stream.write_all(&block) {
            println!("cut off after {sent} bytes: {:?}", error.kind());
            return Ok(());
        }
        sent += block.len();
    }
    println!("all was taken");
    Ok(())
}

/// Sends calls of two kinds in turns, all at once, closes its side, and counts the answers that are the right ones.
fn many(count: usize) -> io::Result<()> {
    let mut stream = UnixStream::connect(SOCKET)?;
    let kinds = [Request::List {}, Request::GetInfo {}].map(|request| encode(&request.to_call()));
    let calls: Vec<u8> = (0..count).flat_map(|n| kinds[n % 2].clone()).collect();
    stream.write_all(&calls)?;
    stream.shutdown(Shutdown::Write)?;
    let mut answers = Vec::new();
    stream.read_to_end(&mut answers)?;
    let answers = answers.split(|byte| *byte == 0).filter(|answer| !answer.is_empty());
    let marks = ["\"jails\":", "\"interfaces\":"];
    let right = answers
        .enumerate()
        .filter(|(n, answer)| String::from_utf8_lossy(answer).contains(marks[n % 2]))
        .count();
    println!("{right} of {count} answers");
    Ok(())
}
