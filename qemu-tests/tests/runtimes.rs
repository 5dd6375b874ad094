//! The example jails in Go, Java, Python and JavaScript under load, and their ends. Their virtual
//! machines, collectors and threads ask more of the kernel than most; they have the default profile.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{fs, net::SocketAddr, path::PathBuf};

use qemu_tests::{
    Guest, Image, Machine, Shared,
    client::{curl, curl_tls, post_many, sha256},
    disk::tool,
};

static SHARED: Shared = Shared::new();

const CADDY: &str = "10.0.2.25";
const JWEBSERVER: &str = "10.0.2.26";
const GUNICORN: &str = "10.0.2.27";
const NODE: &str = "10.0.2.28";
/// Requests of a load.
const MANY: usize = 100;
/// Of a body that is posted.
const BODY_BYTES: usize = 256 << 10;

fn guest() -> Guest<'static> {
    SHARED.guest(|| Machine::new("runtimes", Image::Debug).runtimes().memory_mib(2048))
}

fn reach(guest: &mut Guest<'_>, jail: &str) -> SocketAddr {
    guest.forward(&format!("{jail}:8080")).unwrap()
}

#[test]
fn go_program_serves_by_http_and_by_tls_of_its_own_authority() {
    let mut guest = guest();
    let plain = reach(&mut guest, CADDY);
    let tls = guest.forward(&format!("{CADDY}:8443")).unwrap();

    let pages = tool(&mut curl(&format!("http://{plain}/index.html?[1-{MANY}]"))).unwrap();
    let pid = guest.agent().service("caddy", "caddy").unwrap().pid;
    let authority = "var/lib/caddy/caddy/pki/authorities/local/root.crt";
    let authority = guest.agent().read(&format!("/proc/{pid}/root/{authority}")).unwrap();
    let file = guest.dir().join("caddy.crt");
    fs::write(&file, authority).unwrap();
    let secret = tool(&mut curl_tls(tls, "/echo?words", &file)).unwrap();

    assert_eq!(pages.matches("served by caddy, a program in Go").count(), MANY);
    assert_eq!(secret, "GET words");
    assert_eq!(guest.agent().end("caddy").unwrap().code, Some(0));
}

#[test]
fn java_program_serves_pages() {
    let mut guest = guest();
    let address = reach(&mut guest, JWEBSERVER);

    let pages = tool(&mut curl(&format!("http://{address}/?[1-{MANY}]"))).unwrap();

    assert_eq!(pages.matches("served by the JDK's own web server").count(), MANY);
    // 128 and SIGTERM: so does a virtual machine end that is asked to, once its hooks have run.
    assert_eq!(guest.agent().end("jwebserver").unwrap().code, Some(143));
}

#[test]
fn python_program_answers_several_at_once() {
    let mut guest = guest();
    let address = reach(&mut guest, GUNICORN);
    let page = tool(&mut curl(&format!("http://{address}/hello"))).unwrap();
    assert_eq!(page, "GET /hello by python in a Warder jail\n");

    digests(&guest.dir().join("python-body"), address);

    assert_eq!(guest.agent().end("gunicorn").unwrap().code, Some(0));
}

#[test]
fn node_answers_several_at_once() {
    let mut guest = guest();
    let address = reach(&mut guest, NODE);
    let page = tool(&mut curl(&format!("http://{address}/hello"))).unwrap();
    assert_eq!(page, "GET /hello by node in a Warder jail\n");

    digests(&guest.dir().join("node-body"), address);

    assert_eq!(guest.agent().end("node").unwrap().code, Some(0));
}

/// What each answer says of the body that it was sent must be true.
fn digests(file: &PathBuf, address: SocketAddr) {
    let body = "a body that is posted\n".repeat(BODY_BYTES / 22);
    fs::write(file, body).unwrap();
    let answers = post_many(address, "/digest", file, MANY).unwrap();
    let digest = sha256(file).unwrap();
    let wrong = answers.lines().find(|answer| *answer != digest);
    assert_eq!((wrong, answers.lines().count()), (None, MANY));
}
