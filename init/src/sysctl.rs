//! The kernel's settings of `sysctl.conf`, before anything else runs.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::boot::Boot;
use crate::error::{Context, Error};
use crate::stage::Outcome;

const FILE: &str = "/usr/lib/warder/sysctl.conf";

/// Writes each setting below `/proc/sys`. One that this kernel has not is logged: Debian's and ours differ in some.
///
/// # Errors
/// When the file cannot be read. Lines that make no sense and settings that the kernel refuses degrade the stage.
pub(crate) fn apply(_: &mut Boot) -> Result<Outcome, Error> {
    let text = fs::read_to_string(FILE).doing(|| format!("read {FILE}"))?;
    let mut failed = Vec::new();
    for setting in settings(&text) {
        let Ok((name, value)) = setting else {
            failed.extend(setting.err());
            continue;
        };
        match fs::write(Path::new("/proc/sys").join(name.replace('.', "/")), value) {
            Ok(()) => {}
            Err(e) if e.kind() == ErrorKind::NotFound => {
                log::info!("sysctl {name}: not in this kernel");
            }
            Err(e) => failed.push(format!("{name} = {value}: {e}")),
        }
    }
    Ok(if failed.is_empty() { Outcome::Done } else { Outcome::Degraded(failed.join("; ")) })
}

/// `NAME = VALUE` a line, `#` at its beginning makes a comment (sysctl.conf(5)); an error says which line is neither.
fn settings(text: &str) -> impl Iterator<Item = Result<(&str, &str), String>> {
    let lines = text.lines().zip(1..).map(|(line, number)| (line.trim(), number));
    lines.filter(|(line, _)| !line.is_empty() && !line.starts_with('#')).map(|(line, number)| {
        let pair = line.split_once('=').map(|(name, value)| (name.trim(), value.trim()));
        pair.filter(|(name, value)| is_name(name) && !value.is_empty())
            .ok_or_else(|| format!("{FILE}:{number}: not NAME = VALUE"))
    })
}

/// It becomes a path: parts of harmless letters only.
fn is_name(name: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
    };
    name.split('.').all(part)
}

#[cfg(test)]
mod tests {
    use super::settings;

    #[test]
    fn comments_and_blanks_are_no_settings() {
        let text = "# all\n\nkernel.sysrq = 0\nnet.core.bpf_jit_harden=2\n";
        let found: Vec<_> = settings(text).collect();
        assert_eq!(found, [Ok(("kernel.sysrq", "0")), Ok(("net.core.bpf_jit_harden", "2"))]);
    }

    #[test]
    fn a_line_that_is_neither_is_named() {
        for text in ["\nkernel.sysrq\n", "\nkernel.sysrq =\n", "\n../x = 1\n", "\na..b = 1\n"] {
            let errors: Vec<_> = settings(text).filter_map(Result::err).collect();
            assert_eq!(errors.len(), 1, "{text}");
            assert!(errors[0].contains(":2: "), "{errors:?}");
        }
    }

    #[test]
    fn the_image_s_file_is_understood() {
        let text = include_str!("../../image/root/usr/lib/warder/sysctl.conf");
        assert!(settings(text).count() > 10);
        assert!(settings(text).all(|setting| setting.is_ok()));
    }
}
