//! From the request for a start to the exec of the program (P1): the floor, Warder and other programs
//! take turns in one boot of the debug image. The program in the guest is `bin/starts`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use qemu_tests::{
    Error, Image, Jails, Machine, Result, Vm, image,
    starts_job::{Job, Run},
};

use crate::{
    contenders::{self, HERE},
    figure::Figures,
    start_table::Table,
};

/// Starts of each, when `STARTS` is not set.
const STARTS: usize = 200;
/// One round of all, on an idle machine.
const ROUND_LIMIT: Duration = Duration::from_secs(30);
/// What the guest says at the end.
const END: &str = "bench: starts ended with ";
/// On the host, and as a process in the peers' tree sees it.
const JOB: &str = "/run/bench-job.json";
const OF_HOST: &str = "/proc/1/root";

/// Like a unit that says nothing of these things: an ephemeral root on the disk, no network.
const UNIT: &str = "version = 1\nenabled = false\n[image]\nsource = \"erofs:/usr/share/jails/stamp.erofs\"\n\
    [process]\nexec = [\"/bin/stamp\"]\nuser = 1000\n[network]\nmode = \"none\"\n[restart]\npolicy = \"no\"\n";

/// Adds the figures of one boot, and gives the table of all who took turns.
pub(crate) fn measure(figures: &mut Figures, dir: &Path) -> Result<Table> {
    let filters = filters(dir)?;
    let rounds = crate::setting("STARTS", STARTS)?;
    let mut vm = boot(&filters)?;
    prepare(&mut vm)?;
    let mut contenders = contenders::all(&mut vm)?;
    contenders.retain(|contender| takes_part(&contender.named.name));
    let cgroups = ["init", "jailsupd", "jails"];
    let job = Job {
        rounds,
        floor: contenders::floor_argv(&filters),
        warder_cgroups: cgroups.map(|name| format!("/sys/fs/cgroup/{name}")).into(),
        contenders: contenders.iter().map(|contender| contender.named.clone()).collect(),
    };
    let results = run(&mut vm, &job)?;
    let path = dir.join("starts.jsonl");
    fs::write(&path, &results).map_err(Error::io(format!("write {}", path.display())))?;
    let mut runs: BTreeMap<String, Vec<Run>> = BTreeMap::new();
    for line in results.lines() {
        let run: Run = serde_json::from_str(line).map_err(|error| answer(&error))?;
        runs.entry(run.name.clone()).or_default().push(run);
    }
    let table = Table::new(contenders.into_iter().filter_map(|contender| {
        let runs = runs.remove(&contender.named.name)?;
        Some((contender.named.name, contender.leaves_out, runs))
    }));
    table.add_to(figures);
    Ok(table)
}

/// With `WHO=WORD,...` only those whose names begin with one of these words.
fn takes_part(name: &str) -> bool {
    let Ok(who) = std::env::var("WHO") else { return true };
    who.split(',').any(|word| name.starts_with(word))
}

/// Has the guest do it, in the peers' tree; each run in a line.
fn run(vm: &mut Vm, job: &Job) -> Result<String> {
    let text = serde_json::to_string(job).map_err(|error| answer(&error))?;
    vm.agent().write(JOB, &text)?;
    let mark = vm.console.mark();
    vm.agent().peer_output(&format!(
        "(cd {HERE} && ./starts {OF_HOST}{JOB} results 2>errors; echo '{END}'$? >/dev/kmsg) \
         </dev/null >/dev/null 2>&1 &"
    ))?;
    let rounds = u32::try_from(job.rounds + 2).unwrap_or(u32::MAX);
    let end = vm.console.wait_for_after(mark, END, ROUND_LIMIT * rounds)?;
    if !end.text.trim_end().ends_with(&format!("{END}0")) {
        let answer = vm.agent().peer_output(&format!("cat {HERE}/errors"))?;
        return Err(Error::Answer { peer: "starts in the guest", answer });
    }
    vm.agent().peer_output(&format!("cat {HERE}/results"))
}

fn answer(error: &serde_json::Error) -> Error {
    Error::Answer { peer: "starts in the guest", answer: error.to_string() }
}

/// The default profile's filters, made by `cargo run -p jailsupd --example filters`.
fn filters(dir: &Path) -> Result<Vec<PathBuf>> {
    let paths = (0..).map(|number| dir.join(format!("filters/filter{number}")));
    let paths: Vec<_> = paths.take_while(|path| path.exists()).collect();
    match paths.is_empty() {
        true => Err(Error::NotBuilt { path: dir.join("filters/filter0") }),
        false => Ok(paths),
    }
}

fn boot(filters: &[PathBuf]) -> Result<Vm> {
    let stamp = image::program("examples/stamp")?;
    let crash = UNIT
        .replace("enabled = false\n", "")
        .replace("[\"/bin/stamp\"]", "[\"/bin/stamp\", \"stay\"]")
        .replace("policy = \"no\"", "delay = \"1ms\"\ndelay_max = \"1ms\"\njitter = 0");
    let read_only = format!("{UNIT}[root]\nmode = \"read-only\"\n");
    let mut jails = Jails::new()?
        .image("stamp", &stamp)?
        .unit("stamp", UNIT)?
        .unit("stamp-ro", &read_only)?
        .unit("stamp-crash", &crash)?
        .copy(&image::program("starts")?, "images/bench/starts")?
        .copy(&image::program("examples/floor")?, "images/bench/floor")?
        .copy(&stamp, "images/bench/stamp")?;
    if takes_part("youki") {
        jails = jails.copy(&image::youki()?, "images/bench/youki")?;
    }
    for (number, path) in filters.iter().enumerate() {
        jails = jails.copy(path, &format!("images/bench/filter{number}"))?;
    }
    let machine = Machine::new("bench-starts", Image::Debug).jails(jails).peers().memory_mib(2048);
    let mut vm = machine.start()?;
    vm.wait_boot()?;
    vm.wait_page()?;
    Ok(vm)
}

/// The jails disk is mounted without exec; and the floor is to work on the same disks as Warder.
fn prepare(vm: &mut Vm) -> Result<()> {
    let of_host = format!(
        "mkdir -p {HERE} && mount -t tmpfs -o mode=700 tmpfs {HERE} && \
         cp -r /usr/share/jails/bench/. {HERE}/ && cp /usr/share/jails/stamp.erofs /data/stamp.erofs"
    );
    vm.agent().shell(&of_host)?;
    vm.agent().enter_peers()?;
    let of_peers = format!(
        "mkdir -p {HERE}/rootfs && cp /srv/bench/starts {HERE}/ && (! [ -e /srv/bench/youki ] || cp /srv/bench/youki /usr/bin/) && cd {HERE}/rootfs && \
         mkdir bin usr proc sys dev etc tmp run var && cp /srv/bench/stamp bin/ && \
         mount -t tracefs tracefs /sys/kernel/tracing"
    );
    vm.agent().peer_output(&of_peers).map(drop)
}
