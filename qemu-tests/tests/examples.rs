//! All example jails on one host, each at work for the real client programs of its service, which
//! run on the build machine.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use jailsupd::control::wire::{Event, JailState};
use qemu_tests::{
    End, Guest, Image, Machine, Shared, Vm,
    client::{curl, curl_tls},
    disk, image,
};

static SHARED: Shared = Shared::new();

const REDIS: &str = "10.0.2.21:6379";
const POSTGRESQL: &str = "10.0.2.22:5432";
const REDIS_READY: &str = "Ready to accept connections";
const POSTGRESQL_READY: &str = "ready to accept connections";
const HAPROXY: &str = "10.0.2.23";
const DNSMASQ: &str = "10.0.2.24:53";
/// The users of both images have this uid there.
const SERVICE_UID: u32 = 100;
const FIRST_JAIL_UID: u32 = 65_536;
const NO_CAPABILITY: &str = "0000000000000000";
/// From the boot to the line that a service writes when it is ready (idle machine).
const READY: Duration = Duration::from_secs(30);
/// Seconds after which a client is taken for hanging.
const CLIENT_LIMIT: &str = "240";

const KEYS: usize = 5000;
const KEYS_A_CALL: usize = 500;
const CLIENTS: u32 = 3;
const TRANSACTIONS: u32 = 300;
/// Of pgbench, by each of its clients.
const BENCHED: u32 = 50;
const PAGES: usize = 50;
const QUESTIONS: usize = 200;

fn guest() -> Guest<'static> {
    SHARED.guest(|| Machine::new("examples", Image::Debug).examples())
}

#[test]
fn redis_gives_back_what_thousands_of_commands_have_stored() {
    let mut guest = guest();
    let address = redis(&mut guest);
    let input = guest.dir().join("redis-input");
    let sets: String = (0..KEYS).fold(String::new(), |mut text, key| {
        writeln!(text, "SET key:{key} {}\r", value(key)).unwrap();
        text
    });
    let gets: String = (0..KEYS).fold(String::new(), |text, key| {
        let start = if key % KEYS_A_CALL == 0 { "\nMGET" } else { "" };
        format!("{text}{start} key:{key}")
    });

    let load = "-a example -t set,get -n 4000 -c 20 -P 4 -r 1000 -q";
    disk::tool(client("redis-benchmark", address).args(load.split(' '))).unwrap();
    fs::write(&input, sets).unwrap();
    let stored = redis_cli(address).arg("--pipe").stdin(File::open(&input).unwrap()).output();
    fs::write(&input, gets.trim_start()).unwrap();
    let read = disk::tool(redis_cli(address).stdin(File::open(&input).unwrap())).unwrap();

    let stored = String::from_utf8(stored.unwrap().stdout).unwrap();
    assert!(stored.contains(&format!("errors: 0, replies: {KEYS}")), "{stored}");
    let wrong = read.lines().enumerate().find(|(key, line)| *line != value(*key));
    assert_eq!((wrong, read.lines().count()), (None, KEYS));
}

#[test]
fn postgresql_keeps_the_books_straight_for_several_clients_at_once() {
    let mut guest = guest();
    let address = postgresql(&mut guest);
    let sql = |script: String| {
        disk::tool(psql(address).args(["--command", &script])).unwrap().trim_end().to_owned()
    };
    sql("CREATE TABLE accounts AS SELECT id, 0 AS balance FROM generate_series(0, 9999) id;
         CREATE TABLE tellers AS SELECT id, 0 AS balance FROM generate_series(0, 9) id;
         CREATE TABLE branches AS SELECT 0 AS id, 0 AS balance;
         CREATE TABLE history (client int, number int, account int, amount int);
         ALTER TABLE accounts ADD PRIMARY KEY (id);"
        .into());

    let books: Vec<_> = (0..CLIENTS).map(transactions).collect();
    thread::scope(|scope| {
        for (number, (script, _)) in books.iter().enumerate() {
            let file = guest.dir().join(format!("transactions-{number}.sql"));
            fs::write(&file, script).unwrap();
            scope.spawn(move || disk::tool(psql(address).arg("--file").arg(file)).unwrap());
        }
    });

    let total: i64 = books.iter().map(|(_, total)| total).sum();
    let committed = CLIENTS * TRANSACTIONS * 9 / 10;
    // The workers of a parallel query share memory in the jail's /dev/shm.
    let sums = sql("SET debug_parallel_query = on;
         SELECT (SELECT sum(balance) FROM accounts), (SELECT sum(balance) FROM tellers),
                (SELECT sum(balance) FROM branches), sum(amount), count(*) FROM history"
        .into());
    assert_eq!(sums, format!("{total}|{total}|{total}|{total}|{committed}"));
}

/// A database that was killed under load has much to do before it is ready; whoever needs it waits.
#[test]
fn nginx_waits_for_postgresql_that_takes_long_to_recover() {
    let mut guest = guest();
    let address = postgresql(&mut guest);
    let table = "CREATE TABLE big AS SELECT id, md5(id::text) FROM generate_series(1, 150000) id";
    disk::tool(psql(address).args(["--command", table])).unwrap();
    let part = "/etc/jails.d/nginx.toml.d";
    guest.sh(&format!(
        "mkdir -p {part}; printf '[dependencies]\\nbinds_to = [\"postgresql\"]\\n' >{part}/database.toml"
    ));
    guest.ctl(&["apply"]);
    guest.up("nginx");
    let began = guest.sh("date +%s").trim().parse::<u64>().unwrap() * 1000;

    guest.ctl(&["kill", "postgresql", "-s", "SIGKILL"]);
    // nginx ends with it, and is up again after it.
    let again = "[ $(/usr/bin/jailctl events nginx | grep -c 'waits for postgresql') -gt 0 ]";
    guest.agent().wait_until(again, READY).unwrap();
    guest.up("postgresql");
    guest.up("nginx");

    let events = guest.ctl(&["events", "--json"]);
    let events = events.lines().map(|line| serde_json::from_str::<Event>(line).unwrap());
    let events: Vec<Event> = events.filter(|event| event.time >= began).collect();
    let came = |jail: &str, state: JailState| {
        let mut found = events.iter().rev();
        let found = found.find(|event| event.jail == jail && event.to == Some(state));
        found.map(|event| event.time).unwrap()
    };
    let (executed, ready) =
        (came("postgresql", JailState::Activating), came("postgresql", JailState::Up));
    assert!(executed < ready && ready <= came("nginx", JailState::Starting), "{events:#?}");
    let said = guest.ctl(&["logs", "postgresql"]);
    assert!(said.contains("database system was not properly shut down"), "{said}");
    assert!(said.contains("redo done"), "{said}");
    let count = "SELECT count(*) FROM big";
    let address = postgresql(&mut guest);
    let counted = disk::tool(psql(address).args(["--command", count])).unwrap();
    assert_eq!(counted.trim_end(), "150000");
    assert_eq!(guest.wait_page().unwrap().status, 200);
    guest.sh(&format!("rm -r {part}"));
    guest.ctl(&["apply"]);
}

/// Of sd_notify(3), as the service says it itself.
#[test]
fn redis_is_up_when_it_says_so() {
    let mut guest = guest();
    guest.up("redis");
    let said = guest.ctl(&["logs", "redis"]);
    assert!(said.contains("upervised by systemd"), "{said}");
    let row = guest.agent().listed("redis").unwrap();
    assert_eq!(row.status.as_deref(), Some("Ready to accept connections"), "{row:?}");
}

#[test]
fn pgbench_loses_nothing() {
    let mut guest = guest();
    let address = postgresql(&mut guest);
    let pgbench = |arguments: &str| {
        let program = image::cache().join("pgbench/pgbench");
        let mut command = client(program.to_str().unwrap(), address);
        command.env("PGPASSWORD", "example").args(["-U", "example"]).args(arguments.split(' '));
        disk::tool(command.arg("example")).unwrap()
    };

    pgbench("--initialize --quiet --scale 1");
    let clients = CLIENTS * BENCHED;
    let report = pgbench(&format!("--client {CLIENTS} --transactions {BENCHED} --no-vacuum"));

    assert!(report.contains(&format!("processed: {clients}/{clients}")), "{report}");
    let sums = "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = sum(delta), \
         (SELECT sum(bbalance) FROM pgbench_branches) = sum(delta), count(*) FROM pgbench_history";
    let sums = disk::tool(psql(address).args(["--command", sums])).unwrap();
    assert_eq!(sums.trim_end(), format!("t|t|{clients}"));
}

#[test]
fn haproxy_ends_tls_in_front_of_the_nginx_jail() {
    let mut guest = guest();
    let plain = guest.forward(&format!("{HAPROXY}:8080")).unwrap();
    let tls = guest.forward(&format!("{HAPROXY}:8443")).unwrap();

    let pages = disk::tool(&mut curl(&format!("http://{plain}/?[1-{PAGES}]"))).unwrap();
    let pid = guest.agent().service("haproxy", "haproxy").unwrap().pid;
    let certificate = format!("/proc/{pid}/root/etc/haproxy/tls/example.crt");
    let certificate = guest.agent().read(&certificate).unwrap();
    let file = guest.dir().join("haproxy.crt");
    fs::write(&file, certificate).unwrap();
    let secret = disk::tool(curl_tls(tls, "/", &file).arg("--include")).unwrap();

    assert_eq!(pages.matches("<h1>nginx jail</h1>").count(), PAGES);
    for part in ["HTTP/2 200", "x-proxy: haproxy", "x-jail: nginx", "<h1>nginx jail</h1>"] {
        assert!(secret.contains(part), "no {part}: {secret}");
    }
}

#[test]
fn dnsmasq_answers_for_its_zone_by_udp_and_tcp() {
    let mut guest = guest();
    let (udp, tcp) = (guest.forward_udp(DNSMASQ).unwrap(), guest.forward(DNSMASQ).unwrap());
    let dig = |address: SocketAddr, words: &str| {
        let mut command = Command::new("dig");
        command.args(["@127.0.0.1", "-p", &address.port().to_string(), "+tries=5", "+time=20"]);
        disk::tool(command.args(words.split(' '))).unwrap()
    };
    // The first question waits until the service is there.
    wait_said(&mut guest, "dnsmasq", "started, version", 1);
    let questions = guest.dir().join("questions");
    fs::write(&questions, "web.example.test A +short\n".repeat(QUESTIONS)).unwrap();

    let answers = [
        dig(udp, "+short www.example.test A"),
        dig(tcp, "+short +tcp www.example.test AAAA"),
        dig(udp, "+short example.test MX"),
        dig(tcp, "+short +tcp example.test TXT"),
        dig(udp, "+short -x 192.0.2.1"),
    ];
    let many = dig(udp, &format!("-f {}", questions.display()));

    assert_eq!(
        answers.map(|answer| answer.trim_end().to_owned()),
        [
            "192.0.2.1",
            "2001:db8::1",
            "10 mail.example.test.",
            "\"served from a Warder jail\"",
            "www.example.test."
        ]
    );
    assert_eq!(many, "www.example.test.\n192.0.2.1\n".repeat(QUESTIONS));
    assert!(dig(udp, "nobody.example.test A").contains("status: NXDOMAIN"));
    assert!(dig(udp, "example.org A").contains("status: REFUSED"));
}

/// A proxy whose first server is a name that another jail knows, and whose second one a name that its own unit has.
const NAMED: &str = "
defaults
    mode http
    timeout connect 10s
    timeout client 30s
    timeout server 30s
frontend web
    bind :8080
    use_backend entry if { path_beg /entry }
    default_backend asked
backend asked
    server page page:80
backend entry
    http-request set-path /
    server front front:80
";

#[test]
fn haproxy_finds_its_servers_by_the_name_server_and_the_hosts_of_its_unit() {
    let mut guest = guest();
    let (_, names) = image::example("dnsmasq").unwrap();
    let names = fs::read_to_string(names).unwrap().replace("10.0.2.24", "10.0.2.34").replace(
        "\"--conf-file=/etc/dnsmasq.conf\"",
        "\"--keep-in-foreground\", \"--conf-file\", \"--no-hosts\", \"--no-resolv\", \"--host-record=page.example.test,10.0.2.20\"",
    );
    guest.put("names", &names);
    let (_, proxy) = image::example("haproxy").unwrap();
    let proxy = fs::read_to_string(proxy)
        .unwrap()
        .replace(
            "10.0.2.23/24\"]",
            "10.0.2.33/24\"]\ndns = [\"10.0.2.34\"]\ndns_search = [\"example.test\"]\nadd_host = [\"front:10.0.2.20\"]",
        )
        .replace("/etc/haproxy/haproxy.cfg", "/v/named.cfg");
    guest.put("proxy", &format!("{proxy}\n[[volume]]\nname = \"proxy\"\npath = \"/v\"\n"));
    // Until it has its configuration, it fails and is tried again.
    guest.agent().wait_until("[ -d /data/volumes/proxy/data ]", READY).unwrap();
    guest.agent().write("/data/volumes/proxy/data/named.cfg", NAMED).unwrap();
    guest.up("names");
    let plain = guest.forward("10.0.2.33:8080").unwrap();

    for path in ["", "entry"] {
        let page = disk::tool(curl(&format!("http://{plain}/{path}")).arg("--include")).unwrap();
        assert!(page.contains("<h1>nginx jail</h1>"), "{path}: {page}");
    }
    let pid = guest.agent().service("proxy", "haproxy").unwrap().pid;
    let given = guest.sh(&format!("cd /proc/{pid}/root/etc; cat resolv.conf hosts"));
    assert_eq!(
        given,
        "nameserver 10.0.2.34\nsearch example.test\n\
         127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n10.0.2.33 proxy\n10.0.2.20 front\n"
    );
    let mount = format!("grep -c ' /etc/hosts ro,nosuid,nodev,noexec' /proc/{pid}/mountinfo");
    assert_eq!(guest.sh(&mount).trim(), "1");
    guest.remove("proxy");
    guest.remove("names");
    assert_eq!(guest.sh("ls /run/jailsupd/given | grep -c proxy; true").trim(), "0");
}

#[test]
fn each_service_ends_as_it_promises_and_comes_back() {
    let mut guest = guest();
    for jail in ["redis", "postgresql", "haproxy", "dnsmasq", "nginx"] {
        guest.wait_jail(0, jail, "up").unwrap();
        // A signal that comes before a service has got its handlers would end it otherwise.
        let _ = (jail == "redis").then(|| redis(&mut guest));
        let _ = (jail == "postgresql").then(|| postgresql(&mut guest));

        let exit = guest.agent().end(jail).unwrap();

        assert_eq!(exit.code, Some(0), "{jail}: {exit:?}");
        guest.agent().output(&["/usr/bin/jailctl", "start", jail]).unwrap();
    }
}

#[test]
fn services_are_unprivileged_on_the_host_and_have_no_capability() {
    let mut guest = guest();
    for (jail, program) in [("redis", "redis-server"), ("postgresql", "postgres")] {
        guest.wait_jail(0, jail, "up").unwrap();

        let base = guest.agent().inspect(jail).unwrap().uid_base.unwrap();
        let processes = guest.agent().jail_processes(jail).unwrap();

        let uid = (base + SERVICE_UID).to_string();
        assert!(base >= FIRST_JAIL_UID);
        assert!(processes.iter().any(|process| process.name() == program), "{processes:?}");
        for process in &processes {
            let sets = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];
            assert_eq!(sets.map(|set| process.field(set)), [NO_CAPABILITY; 5], "{process:?}");
            assert_eq!(process.field("Uid"), [&*uid; 4].join("\t"), "{process:?}");
        }
    }
}

#[test]
fn power_off_lets_each_service_end_its_work_and_its_data_is_there_again() {
    let machine = Machine::new("examples-stop", Image::Debug).examples();
    let mut first = machine.start().unwrap();
    first.wait_boot().unwrap();
    let address = redis(&mut first);
    disk::tool(redis_cli(address).args(["SET", "key", "value"])).unwrap();
    let postgresql = postgresql(&mut first);
    let table = "CREATE TABLE kept AS SELECT 7 AS n";
    disk::tool(psql(postgresql).args(["--command", table])).unwrap();
    let mut session = Session::open(postgresql);

    first.agent().output(&["/usr/bin/jailctl", "host", "poweroff"]).unwrap();
    assert_eq!(first.wait_end().unwrap(), End::PowerOff);
    assert!(!session.psql.wait().unwrap().success(), "the session has outlived its server");

    let again = Machine::new("examples-after-stop", Image::Debug).own_disk(first.disk());
    let mut second = again.examples().start().unwrap();
    second.wait_boot().unwrap();
    // The logs have what the first boot said, too.
    wait_said(&mut second, "redis", REDIS_READY, 2);
    let address = second.forward(REDIS).unwrap();
    let value = disk::tool(redis_cli(address).args(["GET", "key"])).unwrap();
    wait_said(&mut second, "postgresql", POSTGRESQL_READY, 2);
    let address = second.forward(POSTGRESQL).unwrap();
    let kept = disk::tool(psql(address).args(["--command", "SELECT n FROM kept"])).unwrap();
    // Both are on volumes: a restart alone keeps them, too.
    second.agent().output(&["/usr/bin/jailctl", "restart", "redis"]).unwrap();
    wait_said(&mut second, "redis", REDIS_READY, 3);
    let address = second.forward(REDIS).unwrap();
    let restarted = disk::tool(redis_cli(address).args(["GET", "key"])).unwrap();
    assert_eq!((value.as_str(), restarted.as_str()), ("value\n", "value\n"));
    assert_eq!(kept, "7\n");
    let redis = second.agent().output(&["/usr/bin/jailctl", "logs", "redis"]).unwrap();
    let postgresql = second.agent().output(&["/usr/bin/jailctl", "logs", "postgresql"]).unwrap();
    assert!(redis.contains("DB saved on disk"), "{redis}");
    assert!(redis.contains("Redis is now ready to exit, bye bye..."), "{redis}");
    assert!(postgresql.contains("database system is shut down"), "{postgresql}");
    assert!(!postgresql.contains("was not properly shut down"), "{postgresql}");
}

/// Where redis answers, once it does.
fn redis(vm: &mut Vm) -> SocketAddr {
    wait_said(vm, "redis", REDIS_READY, 1);
    vm.forward(REDIS).unwrap()
}

/// Where PostgreSQL answers, once it does.
fn postgresql(vm: &mut Vm) -> SocketAddr {
    wait_said(vm, "postgresql", POSTGRESQL_READY, 1);
    vm.forward(POSTGRESQL).unwrap()
}

/// Waits until a jail has said so in this many lives.
fn wait_said(vm: &mut Vm, jail: &str, line: &str, times: u32) {
    let said = format!("[ $(/usr/bin/jailctl logs {jail} | grep -c '{line}') -ge {times} ]");
    let waited = vm.agent().wait_until(&said, READY);
    let log = vm.agent().output(&["/usr/bin/jailctl", "logs", jail]).unwrap();
    assert!(waited.is_ok(), "{waited:?}\n{log}");
}

/// A client program that does not hang for ever.
fn client(program: &str, address: SocketAddr) -> Command {
    let mut command = Command::new("timeout");
    command.args([CLIENT_LIMIT, program, "-h", &address.ip().to_string()]);
    command.args(["-p", &address.port().to_string()]);
    command
}

fn redis_cli(address: SocketAddr) -> Command {
    let mut command = client("redis-cli", address);
    command.env("REDISCLI_AUTH", "example");
    command
}

fn psql(address: SocketAddr) -> Command {
    let mut command = client("psql", address);
    command.env("PGPASSWORD", "example").args(["-U", "example", "-d", "example"]);
    command.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"]);
    command.args(["--set", "ON_ERROR_STOP=1"]);
    command
}

/// A client that stays connected: a server that waited for it would be killed in the end.
struct Session {
    psql: Child,
}

impl Session {
    fn open(address: SocketAddr) -> Self {
        let mut psql = psql(address)
            .args(["--command", "SELECT 'here'", "--command", "SELECT pg_sleep(3600)"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(psql.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "here\n");
        Self { psql }
    }
}

fn value(key: usize) -> String {
    format!("value-{}", key * 7919 % 104_729)
}

/// One client's script in the manner of TPC-B, and what it adds up to: each transaction moves an
/// amount into an account, a teller and the one branch, and writes it down; every tenth is rolled
/// back. A transaction is one message, since the way through QEMU is long.
fn transactions(client: u32) -> (String, i64) {
    let (mut script, mut total) = (String::new(), 0);
    for number in 0..TRANSACTIONS {
        let amount = i64::from(number * 37 + client * 11) % 1000 - 300;
        let account = (number * 7919 + client * 104) % 10_000;
        let end = if number % 10 == 9 { "ROLLBACK" } else { "COMMIT" };
        total += if end == "COMMIT" { amount } else { 0 };
        let update = |table, id| {
            format!("UPDATE {table} SET balance = balance + {amount} WHERE id = {id}\\;")
        };
        writeln!(
            script,
            "BEGIN\\;{}{}{} INSERT INTO history VALUES ({client}, {number}, {account}, {amount})\\; {end};",
            update("accounts", account),
            update("tellers", number % 10),
            update("branches", 0),
        )
        .unwrap();
    }
    (script, total)
}
