//! Published ports: until the packet filter has the rules of one, of a thousand, and of none again, with all that
//! `jailctl apply` does beside that.

use qemu_tests::{Error, Image, Jails, Machine, Result, Vm, unit_of};

use crate::{boot::milliseconds, figure::Figures, units::time_with};

const ROUNDS: usize = 10;
/// What is published, and the figure's name. Ports that lead to other ones have a rule each.
const PUBLISHED: [(&str, &str); 4] = [
    ("1 port", "\"20000:10000\""),
    ("1000 ports", "\"20000-20999:10000-10999\""),
    ("1000 ports in one range", "\"20000-20999:20000-20999\""),
    ("none", ""),
];

/// Adds the figures of one boot.
pub(crate) fn measure(figures: &mut Figures) -> Result<()> {
    let mut vm = Machine::new("bench-ports", Image::Debug).jails(Jails::new()?).start()?;
    vm.wait_boot()?;
    vm.agent().shell("mkdir -p /etc/jails.d/networks")?;
    vm.agent().write("/etc/jails.d/networks/out.toml", "version = 1\nforward = \"nat\"\n")?;
    vm.put_up("bench", &unit(""));
    for _ in 0..ROUNDS {
        for (name, ports) in PUBLISHED {
            let took = publish(&mut vm, ports)?;
            figures.add(&format!("apply, {name} published"), "ms", took);
        }
    }
    Ok(())
}

fn unit(ports: &str) -> String {
    let network = format!("mode = \"bridge\"\nnetwork = \"out\"\npublish = [{ports}]");
    unit_of("nuisance", &["stay"], "").replace("mode = \"none\"", &network)
}

/// Milliseconds from before the edit until `apply` says that it is in force.
fn publish(vm: &mut Vm, ports: &str) -> Result<f64> {
    vm.agent().write("/run/bench.toml", &unit(ports))?;
    let took = time_with(vm, "cp /run/bench.toml /etc/jails.d/bench.toml", "apply")?;
    let too_slow = || Error::Answer { peer: "jailctl apply", answer: "it takes too long".into() };
    took.map(milliseconds).ok_or_else(too_slow)
}
